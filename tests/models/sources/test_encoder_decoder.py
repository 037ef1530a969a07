"""Encoder-decoders of `encoder_decoder:` and of `hf:` folders: sizes, padding, causality, greedy texts, and the ONNX file."""

import onnxruntime
import pytest
import torch

from compress.backends.continue_prompts import Sampling, continue_prompts
from compress.backends.decoder.greedy_texts import greedy_texts
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.models.sources.encoder_decoder import SIZES, encoder_decoder_config
from tests.tasks.text.encoder_decoders import END, FAMILIES, MOST, SPEC, family, network, prompts, responses
from tests.tasks.text.text_arrays import VOCABULARY

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    """A folder of transformers, and its network."""
    inner = family(request.param)
    path = tmp_path_factory.mktemp(request.param)
    inner.save_pretrained(path)
    return path, inner


def loaded(folder):
    path, inner = folder
    return network(path.parent, f"hf:{path.name}", spread=False), inner


def test_a_folder_gives_the_logits_and_the_greedy_texts_of_transformers(folder):
    module, inner = loaded(folder)
    feeds = next(responses(4).ordered(4)).inputs
    read = feeds["decoder_input_ids"].clone()
    read[:, 0] = inner.config.decoder_start_token_id
    with torch.no_grad():
        expected = inner(**{**feeds, "decoder_input_ids": read}).logits
        torch.testing.assert_close(module(**feeds), expected)
    found = greedy_texts(module, prompts(), end=END, most=MOST, max_new_tokens=9)
    for prompt, text in zip(prompts(), found, strict=True):
        whole = inner.generate(prompt[None], max_new_tokens=9, do_sample=False, num_beams=1, forced_bos_token_id=None)
        assert text == whole[0, 1:].tolist()


def test_padding_and_later_tokens_change_no_answer(folder):
    module, _ = loaded(folder)
    feeds = next(responses(3).ordered(3)).inputs
    wider = {name: torch.nn.functional.pad(values, (0, 5)) for name, values in feeds.items()}
    length = feeds["decoder_input_ids"].shape[1]
    with torch.no_grad():
        torch.testing.assert_close(module(**wider)[:, :length], module(**feeds), atol=1e-5, rtol=1e-5)


def test_a_file_writes_what_its_network_writes_and_agrees_at_all_lengths(tmp_path):
    module, path = network(), tmp_path / "model.onnx"
    assert export_onnx(module, SPEC, path, split=responses(8)) == ()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = next(responses(3).ordered(3)).inputs
    for count, length, written in ((1, 1, 1), (1, 7, 2), (3, 12, 8), (2, 3, 8)):
        sizes = {"decoder_input_ids": written}
        part = {name: values[:count, : sizes.get(name, length)] for name, values in feeds.items()}
        (found,) = session.run(None, {name: values.numpy() for name, values in part.items()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), module(**part), atol=1e-4, rtol=1e-4)
    texts = greedy_texts(module, prompts(), end=END, most=MOST, max_new_tokens=9)
    assert len({*map(tuple, texts)}) > 1
    assert greedy_texts(path, prompts(), end=END, most=MOST, max_new_tokens=9) == texts


def test_prompts_of_any_lengths_get_the_response_of_each_alone_also_without_a_cache():
    class Whole(torch.nn.Module):
        """The network without a cache."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, attention_mask, decoder_input_ids):
            return self.inner(input_ids, attention_mask, decoder_input_ids)

    module = network()
    together = continue_prompts([(module, 1.0)], prompts(), Sampling(max_new_tokens=7), end=END, most=MOST)
    whole = continue_prompts([(Whole(module), 1.0)], prompts(), Sampling(max_new_tokens=7), end=END, most=MOST)
    assert torch.equal(together.tokens, whole.tokens)
    for prompt, tokens in zip(prompts(), together.tokens, strict=True):
        alone = continue_prompts([(module, 1.0)], [prompt], Sampling(max_new_tokens=7), end=END, most=MOST)
        assert tokens[: int(alone.lengths)].tolist() == alone.tokens[0].tolist()


def test_an_encoder_decoder_may_write_as_many_tokens_as_its_longest_prompt_has():
    module = network()
    long = torch.full((MOST,), 7)
    found = continue_prompts([(module, 1.0)], [long], Sampling(max_new_tokens=9), end=-1, most=MOST)
    assert found.tokens.shape == (1, 9)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_table(name):
    config = encoder_decoder_config(name, {}, SPEC)
    layers, width = SIZES[name]
    assert (config["num_layers"], config["num_decoder_layers"], config["d_model"]) == (layers, layers, width)
    assert config["d_kv"] * config["num_heads"] == width
    assert 0 <= config["d_ff"] - 8 * width / 3 < 32


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ModelError, match="unknown encoder_decoder 'tini': did you mean 'tiny'"):
        network(source="encoder_decoder:tini")
    with pytest.raises(ModelError, match="a width of 128 cannot be divided among 3 heads"):
        encoder_decoder_config("tiny", {"heads": 3}, SPEC)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(ModelError, match=r"hf:bert is a bert, which is no encoder-decoder: .* T5, BART or Marian"):
        network(tmp_path, "hf:bert")
