"""Greedy texts of files and modules, against one token after the other from whole texts."""

import pytest
import torch

pytest.importorskip("transformers")

from compress.backends.decoder.greedy_texts import greedy_texts
from tests.backends.decoder.small_decoders import CONTEXT, SPEC, decoder
from tests.tasks.text.text_arrays import VOCABULARY

END = 3


def one_by_one(network, prompt, most, longest):
    tokens = []
    while len(tokens) < min(longest, most + 1 - len(prompt)) and (not tokens or tokens[-1] != END):
        ids = torch.cat([prompt, torch.tensor(tokens, dtype=torch.int64)])[None]
        tokens.append(int(network(ids, torch.ones_like(ids))[0, -1].argmax()))
    return tokens


@pytest.fixture(scope="module")
def network():
    return decoder("llama", seed=3)


@pytest.fixture(scope="module")
def expected(network):
    texts = [one_by_one(network, prompt, CONTEXT, 9) for prompt in prompts()]
    assert any(text[-1] == END for text in texts)
    return texts


def prompts():
    generator = torch.Generator().manual_seed(1)
    lengths = [2, 5, CONTEXT - 3, 9, *[4] * 60]
    return [torch.randint(4, VOCABULARY, (length,), generator=generator) for length in lengths]


def test_a_module_writes_what_its_whole_texts_give(network, expected):
    assert greedy_texts(network, prompts(), end=END, most=CONTEXT, max_new_tokens=9) == expected


def test_a_file_writes_the_same_with_and_without_kept_keys_and_values(network, expected, tmp_path):
    from compress.backends.export_onnx import export_onnx
    from tests.tasks.text.test_causal_language_model import data

    path = tmp_path / "model.onnx"
    export_onnx(network, SPEC, path, split=data(8))
    assert greedy_texts(path, prompts(), end=END, most=CONTEXT, max_new_tokens=9) == expected
    fast = greedy_texts(path, prompts()[:8], end=END, most=CONTEXT, max_new_tokens=9, runtime="onnxruntime:cpu")
    assert fast == expected[:8]
