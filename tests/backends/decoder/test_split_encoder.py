"""Encoder and decoder of a file apart, against the whole file, and responses against those of the torch network."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

pytest.importorskip("transformers")

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.generate import generate
from compress.backends.decoder.greedy_texts import greedy_texts
from compress.backends.decoder.response_session import ResponseSession
from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.split_encoder import DECODER, ENCODER, split_encoder
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.quantize.schemes import SchemeOptions, build_models
from tests.backends.decoder.small_decoders import decoder
from tests.tasks.text.encoder_decoders import MOST, SPEC, network, responses
from tests.tasks.text.text_arrays import VOCABULARY

END = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A network and its file."""
    module, path = network(), tmp_path_factory.mktemp("file") / "model.onnx"
    export_onnx(module, SPEC, path, split=responses(8))
    return module, path


def int8(path, folder):
    model = build_models("dynamic_int8", graphs.to_ir(onnx_files.load(path)), ("onnxruntime",), SchemeOptions())
    onnx_files.save(model.models["onnxruntime"], folder / "int8.onnx")
    return folder / "int8.onnx"


@pytest.mark.parametrize("is_int8", [False, True])
def test_both_files_give_the_logits_of_the_whole_for_every_sample(whole, is_int8, tmp_path):
    path = int8(whole[1], tmp_path) if is_int8 else whole[1]
    between = split_encoder(path, tmp_path)
    session, file = ResponseSession(tmp_path, context=MOST), onnxruntime.InferenceSession(path)
    for batch in responses(6).ordered(1):
        feeds = {name: values.numpy() for name, values in batch.inputs.items()}
        count = int(feeds["attention_mask"].sum())
        feeds |= {name: feeds[name][:, :count] for name in ("input_ids", "attention_mask")}
        session.read_prompt(feeds["input_ids"][0].tolist())
        found, (expected,) = session.read(feeds["decoder_input_ids"][0].tolist()), file.run(None, feeds)
        np.testing.assert_allclose(found, expected[0], atol=1e-4, rtol=1e-4)
    session.close()
    parts = [onnx.load(tmp_path / name) for name in (ENCODER, DECODER)]
    assert [each.name for each in parts[0].graph.output] == list(between)
    assert not {each.name for each in parts[0].graph.input} & {"decoder_input_ids"}
    weights = [sum(len(each.raw_data) for each in part.graph.initializer) for part in (*parts, onnx.load(path))]
    table = VOCABULARY * 32 * 4  # in both
    assert sum(weights[:2]) < weights[2] + 2 * table
    assert 0.5 < weights[0] / weights[1] < 2.0


def test_a_response_is_that_of_the_torch_network(whole, tmp_path):
    split_encoder(whole[1], tmp_path)
    session = ResponseSession(tmp_path, context=MOST)
    for prompt in ([5, 9, 3], [7], [11, 4, 30, 12, 3]):
        session.read_prompt(prompt)
        found = [each.token for each in generate(session, [0], Sampler(), most=9, stops={END})]
        (expected,) = greedy_texts(whole[0], [torch.tensor(prompt)], end=END, most=MOST, max_new_tokens=9)
        assert found == [token for token in expected if token != END]
        assert [each.token for each in generate(session, [0], Sampler(), most=9, stops={END})] == found
    with pytest.raises(ConversionError, match=rf"a prompt has 25 tokens, and the network takes 1 to {MOST}"):
        session.read_prompt([5] * 25)
    session.close()


def test_other_files_are_refused(tmp_path):
    from tests.backends.decoder.small_decoders import SPEC as OTHER

    export_onnx(decoder("llama"), OTHER, tmp_path / "decoder_only.onnx")
    with pytest.raises(ConversionError, match="does not read responses as decoder_input_ids"):
        split_encoder(tmp_path / "decoder_only.onnx", tmp_path)
