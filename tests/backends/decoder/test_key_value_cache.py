"""Graphs with past keys and values: the tokens and logits of torch, in one piece, in parts, and from the last token alone."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from compress.backends import onnx_files
from compress.backends.decoder.generate import generate
from compress.backends.decoder.key_value_cache import is_cached, read_layout, write_cached
from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.session import DecoderSession
from compress.core.errors import ConversionError
from tests.backends.decoder.small_decoders import CONTEXT, FAMILIES, decoder, files, greedy, prompts
from tests.tasks.text.text_arrays import VOCABULARY

pytest.importorskip("transformers")


SLOW = ("mistral", "qwen2", "conv1d")
"""Families whose layers differ from those of others in one respect each."""


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in FAMILIES]
)
def network_and_files(request, tmp_path_factory):
    network = decoder(request.param)
    return network, *files(network, tmp_path_factory.mktemp(request.param))


def test_the_likeliest_tokens_are_those_of_torch(network_and_files):
    network, _, cached = network_and_files
    session = DecoderSession(cached)
    answers = [greedy(network, prompt, 10) for prompt in prompts(40)]
    found = [[each.token for each in generate(session, prompt, Sampler(), most=10)] for prompt in prompts(40)]
    assert found == answers
    assert len({token for answer in answers for token in answer}) > 5  # the network does not say one thing alone


def test_logits_of_a_text_in_parts_are_those_of_torch(network_and_files, tmp_path):
    network, plain, _ = network_and_files
    write_cached(plain, tmp_path / "all.onnx", logits="all")
    session = DecoderSession(tmp_path / "all.onnx")
    tokens = torch.randint(0, VOCABULARY, (1, CONTEXT), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(tokens, torch.ones_like(tokens))[0]
    ids = tokens[0].tolist()
    parts = [session.read(ids[start:end]) for start, end in ((0, 5), (5, 6), (6, 13), (13, CONTEXT))]
    torch.testing.assert_close(torch.from_numpy(np.concatenate(parts)), expected, atol=1e-4, rtol=1e-4)


def test_the_graph_has_the_names_that_onnxruntime_genai_expects(network_and_files):
    _, _, cached = network_and_files
    session = onnxruntime.InferenceSession(cached, providers=["CPUExecutionProvider"])
    layers = read_layout(cached).layers
    names = [f"past_key_values.{layer}.{part}" for layer in range(len(layers)) for part in ("key", "value")]
    found = [value.name for value in session.get_inputs()]
    assert [name for name in found if name != "position_ids"] == ["input_ids", "attention_mask", *names]
    presents = [name.replace("past_key_values", "present") for name in names]
    assert [value.name for value in session.get_outputs()] == ["logits", *presents]
    assert session.get_outputs()[0].shape[1:] == [1, VOCABULARY]
    assert [value.shape[1] for value in session.get_inputs() if value.name.endswith("key")] == [each.groups for each in layers]


def test_an_empty_past_is_a_prompt(network_and_files):
    network, _, cached = network_and_files
    session = onnxruntime.InferenceSession(cached, providers=["CPUExecutionProvider"])
    ids = np.array([[3, 7, 5], [9, 1, 2]], np.int64)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(3)[None].repeat(2, 0)}
    for value in session.get_inputs():
        if value.name.startswith("past"):
            feeds[value.name] = np.zeros((2, value.shape[1], 0, value.shape[3]), np.float32)
    known = {value.name for value in session.get_inputs()}
    logits, *presents = session.run(None, {name: array for name, array in feeds.items() if name in known})
    with torch.no_grad():
        expected = network(torch.from_numpy(ids), torch.ones(2, 3, dtype=torch.int64))[:, -1:]
    torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-4, rtol=1e-4)
    assert {array.shape[2] for array in presents} == {3}


def test_layouts_count_the_bytes_of_keys_and_values(network_and_files):
    _, plain, cached = network_and_files
    layout = read_layout(cached)
    assert layout == read_layout(plain)
    session = onnxruntime.InferenceSession(cached, providers=["CPUExecutionProvider"])
    pasts = [value.shape for value in session.get_inputs() if value.name.startswith("past")]
    assert layout.bytes_per_token == sum(shape[1] * shape[3] * 4 for shape in pasts)
    assert (is_cached(plain), is_cached(cached)) == (False, True)


def test_a_window_is_part_of_the_layout(network_and_files):
    network, plain, _ = network_and_files
    kind = network.network.config.model_type
    assert read_layout(plain).window == {"mistral": 4}.get(kind)


def test_files_without_a_layout_are_refused(network_and_files, tmp_path):
    _, plain, _ = network_and_files
    model = onnx_files.load(plain)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ConversionError, match=r"does not describe its attention layers.*Llama"):
        write_cached(tmp_path / "bare.onnx", tmp_path / "cached.onnx")
    onnx.helper.set_model_props(model, {"decoder": "{}"})
    onnx.save(model, tmp_path / "damaged.onnx")
    with pytest.raises(ConversionError, match="damaged layout"):
        read_layout(tmp_path / "damaged.onnx")
