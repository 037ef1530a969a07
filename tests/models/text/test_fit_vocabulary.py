from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.core.kept_tokens import KeptTokens
from compress.core.sentences import render
from compress.models.text.encoder_decoder import EncoderDecoder
from compress.models.text.fit_vocabulary import WholeVocabulary, drop_unused_rows, fit_vocabulary
from compress.models.text.keep_layers import LAYERS
from compress.models.text.plain_modules import to_plain
from compress.models.text.task_networks import NextTokens
from tests.models.text.test_keep_layers import OTHER, SMALL
from tests.models.text.test_students import make
from tests.prune.structured.decoder_networks import CONFIGS, make_decoder
from tests.tasks.text.encoder_decoders import SPEC
from tests.tasks.text.text_arrays import VOCABULARY, tokens

transformers = pytest.importorskip("transformers")

NUMBERS = (0, 1, 2, 5, 8, 13, 21, 34)
KEPT = KeptTokens.of(NUMBERS, 40)
DECODERS = ("gpt2", "llama", "mistral", "mixtral")


def masked(kind: str, **changes: object) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**OTHER.get(kind, SMALL), "num_labels": 3, **changes})
    network = transformers.AutoModelForMaskedLM.from_config(config).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


class Logits(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.network(input_ids=input_ids, attention_mask=attention_mask).logits


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if not kind.startswith(("deberta", *DECODERS))])
@torch.no_grad()
def test_the_answers_are_those_for_the_tokens_that_are_left_with_tied_output_layers(kind):
    network = Logits(masked(kind))
    ids = torch.randint(2, len(NUMBERS), (2, 7), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    expected = network(torch.tensor(NUMBERS)[ids], mask)[..., list(NUMBERS)]
    before = sum(parameter.numel() for parameter in network.parameters())
    mapped, _ = fit_vocabulary(network, KEPT, "hf:net", whole=True)
    torch.testing.assert_close(mapped(ids, mask), expected, atol=1e-6, rtol=0)
    assert sum(parameter.numel() for parameter in mapped.parameters()) == before
    pruned, (note,) = fit_vocabulary(network, KEPT, "hf:net")
    torch.testing.assert_close(pruned(ids, mask), expected, atol=1e-6, rtol=0)
    inner = pruned.network
    table = inner.get_input_embeddings()
    assert (table.num_embeddings, inner.config.vocab_size) == (8, 8)
    assert inner.get_output_embeddings().weight is table.weight
    saved = before - sum(parameter.numel() for parameter in pruned.parameters())
    assert saved == 32 * (table.weight.shape[1] + 1)  # vectors and biases
    assert f"8 of its 40 tokens, those of the pruned tokenizer: {saved:,} parameters less" in render(note)


def test_padding_that_counts_positions_may_not_move():
    network = masked("roberta", pad_token_id=1)
    assert network.config.pad_token_id == 1
    with pytest.raises(ModelError, match="counts positions from its padding token 1"):
        fit_vocabulary(network, KeptTokens.of((1, 5, 8), 40), "hf:net")


@torch.no_grad()
def test_small_students_are_fitted_and_special_tokens_renumbered(tmp_path):
    network = masked("bert", pad_token_id=5)
    fit_vocabulary(network, KEPT, "hf:net")
    assert (network.config.pad_token_id, network.get_input_embeddings().padding_idx) == (3, 3)
    network.save_pretrained(tmp_path)
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([[2, 3, 4]])
    torch.testing.assert_close(again(ids).logits, network(ids).logits)
    student = make("mlp")
    ids, mask = torch.tensor([[1, 3]]), torch.ones(1, 2).long()
    kept = KeptTokens.of((0, 4, 9, 20), 30)
    expected = student(torch.tensor(kept.numbers)[ids], mask)
    fitted, _ = fit_vocabulary(student, kept, "text_student:mlp")
    torch.testing.assert_close(fitted(ids, mask), expected)
    assert fit_vocabulary(fitted, kept, "text_student:mlp") == (fitted, ())
    with pytest.raises(ModelError, match="has 40 tokens, and the tokenizer had 50 before it was pruned to 2"):
        fit_vocabulary(masked("bert"), KeptTokens.of((1, 2), 50), "hf:net")
    assert isinstance(fit_vocabulary(make("cnn"), kept, "a", whole=True)[0], WholeVocabulary)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_decoder_keeps_its_logits_of_the_tokens_that_are_left_and_its_tied_table(kind):
    net, _ = make_decoder(kind)
    ids, kept = torch.tensor([[1, 3, 5, 7, 9]]), KeptTokens.of(range(1, 40, 2), 40)
    with torch.no_grad():
        whole = net(ids, torch.ones_like(ids))
        small, _ = fit_vocabulary(net, kept, kind)
        found = small(ids // 2, torch.ones_like(ids))
    assert torch.allclose(found, whole[..., 1::2], atol=1e-5)
    assert small.network.lm_head.weight is small.network.get_input_embeddings().weight


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@torch.no_grad()
def test_rows_of_no_token_are_dropped_and_the_logits_of_the_others_stay(kind):
    config = transformers.AutoConfig.for_model(**CONFIGS[kind] | {"vocab_size": VOCABULARY + 19})
    network = NextTokens(to_plain(transformers.AutoModelForCausalLM.from_config(config)).eval(), takes_types=False)
    _, spec = make_decoder(kind)
    inputs = tokens(2, 3)
    expected = network(**inputs)
    (note,) = drop_unused_rows(network, spec, "hf:net")
    assert torch.equal(network(**inputs), expected[..., :VOCABULARY])
    assert network.network.config.vocab_size == VOCABULARY
    assert "loses 19 rows of no token" in render(note)
    assert drop_unused_rows(network, spec, "hf:net") == ()


@torch.no_grad()
def test_an_encoder_decoder_with_a_bias_of_its_logits_keeps_those_of_its_tokens():
    config = transformers.MarianConfig(
        vocab_size=VOCABULARY + 3, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, pad_token_id=0,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=0, max_position_embeddings=32,
    )  # fmt: skip
    network = transformers.MarianMTModel(config).eval()
    network.final_logits_bias.normal_()
    module = EncoderDecoder(network, start=0)
    ids, response = tokens(2, 3)["input_ids"], torch.ones(2, 4, dtype=torch.int64)
    expected = module(ids, torch.ones_like(ids), response)
    assert len(drop_unused_rows(module, SPEC, "hf:net")) == 1
    torch.testing.assert_close(module(ids, torch.ones_like(ids), response), expected[..., :VOCABULARY])
