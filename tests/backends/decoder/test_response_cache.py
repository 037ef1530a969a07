"""The decoder of an encoder-decoder with past keys and values, against the whole file and against torch."""

import numpy as np
import onnxruntime
import pytest
import torch

pytest.importorskip("transformers")

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.greedy_texts import greedy_texts
from compress.backends.decoder.open_writer import open_writer
from compress.backends.decoder.response_cache import add_response_cache
from compress.backends.decoder.response_files import write_parts
from compress.backends.decoder.response_session import ResponseSession
from compress.backends.decoder.split_encoder import DECODER
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.models.text.encoder_decoder import EncoderDecoder
from compress.quantize.schemes import SchemeOptions, build_models
from tests.tasks.text.encoder_decoders import END, FAMILIES, MOST, SPEC, family, prompts, responses

CHUNKS = ((1,) * 8, (3, 1, 4), (8,))
"""Tokens of a response that are read at once."""


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request, tmp_path_factory):
    """A network and its file."""
    inner, path = family(request.param), tmp_path_factory.mktemp(request.param) / "model.onnx"
    module = EncoderDecoder(inner, start=inner.config.decoder_start_token_id).eval()
    export_onnx(module, SPEC, path, split=responses(4))
    return module, path


def quantized(path, folder, scheme):
    options = SchemeOptions(block=16)
    model = build_models(scheme, graphs.to_ir(onnx_files.load(path)), ("onnxruntime",), options)
    onnx_files.save(model.models["onnxruntime"], folder / f"{scheme}.onnx")
    return folder / f"{scheme}.onnx"


@pytest.mark.parametrize("scheme", [None, "dynamic_int8", "weight_int4", "block_int8"])
def test_tokens_read_apart_have_the_logits_of_the_whole_file(exported, scheme, tmp_path):
    path = exported[1] if scheme is None else quantized(exported[1], tmp_path, scheme)
    assert write_parts(path, tmp_path) is not None
    session, file = ResponseSession(tmp_path, context=MOST), onnxruntime.InferenceSession(path)
    for batch in responses(5).ordered(1):
        feeds = {name: values.numpy() for name, values in batch.inputs.items()}
        count = int(feeds["attention_mask"].sum())
        feeds |= {name: feeds[name][:, :count] for name in ("input_ids", "attention_mask")}
        tokens = feeds["decoder_input_ids"][0].tolist()
        for sizes in CHUNKS if scheme != "dynamic_int8" else CHUNKS[2:]:  # its ranges are those of the tokens read together
            session.read_prompt(feeds["input_ids"][0].tolist())
            starts = np.cumsum([0, *sizes])
            found = [session.read(tokens[start : start + size]) for start, size in zip(starts, sizes, strict=False)]
            np.testing.assert_allclose(np.concatenate(found), file.run(None, feeds)[0][0], atol=2e-4, rtol=1e-4)
    session.close()


def test_greedy_texts_are_those_of_torch(exported):
    module, path = exported
    many = prompts(60)
    expected = greedy_texts(module, many, end=END, most=MOST, max_new_tokens=MOST)
    assert greedy_texts(path, many, end=END, most=MOST, max_new_tokens=MOST) == expected
    assert len({*map(tuple, expected)}) > 10
    assert max(map(len, expected)) > 8


def test_a_response_ends_where_the_network_reads_no_more_tokens(exported):
    with open_writer(exported[1]) as writer:
        writer.begin([5, 6], MOST - 1)
        writer.read([7] * (MOST - 1))
        with pytest.raises(ConversionError, match=f"longer than the {MOST}"):
            writer.read([7])
        parts = {each.width * each.groups for each in writer._decoder.layout.layers}
        assert parts == {32}
        assert writer.key_value_bytes(10, 4) == 2 * 2 * 32 * 4 * (10 + 4)


def test_a_decoder_of_another_layout_is_refused(exported, tmp_path):
    layout = write_parts(exported[1], tmp_path)
    with pytest.raises(ConversionError, match="is not the decoder of an encoder-decoder"):
        add_response_cache(tmp_path / DECODER, layout.model_copy(update={"response": None}))
    assert write_parts(exported[1], tmp_path, cache=False) is None
    other = layout.response.model_copy(update={"embedding": "elsewhere"})
    with pytest.raises(ConversionError, match="elsewhere"):
        add_response_cache(tmp_path / DECODER, layout.model_copy(update={"response": other}))


def test_parts_of_a_file_without_a_layout_keep_no_keys_and_values(exported, tmp_path):
    model = onnx_files.load(exported[1])
    kept = [entry for entry in model.metadata_props if entry.key != "decoder"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx_files.save(model, tmp_path / "plain.onnx")
    assert write_parts(tmp_path / "plain.onnx", tmp_path) is None
    found = greedy_texts(tmp_path / "plain.onnx", prompts(4), end=END, most=MOST, max_new_tokens=6)
    assert found == greedy_texts(exported[1], prompts(4), end=END, most=MOST, max_new_tokens=6)
    session = ResponseSession(tmp_path, context=MOST)
    session.read_prompt(prompts(1)[0].tolist())
    assert session.read([0]).shape == session.read([5]).shape == (1, 40)
    torch.testing.assert_close(session.length, 2)
