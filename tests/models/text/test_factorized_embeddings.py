from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compress.backends import onnx_session
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.models.checkpoint import load, save
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.models.text.embedding_rank import EmbeddingEnergy
from compress.models.text.factorized_embeddings import FactorizedEmbedding, factorize, factorize_embeddings
from tests.models.hugging_face_folders import ENCODER
from tests.models.text.test_students import padded, spec


def low_rank(count: int, width: int, rank: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(count, rank) @ torch.randn(rank, width) + torch.randn(width)


def test_factors_are_the_closest_of_their_rank_and_exact_for_the_rank_of_the_table():
    table = low_rank(40, 12, 3)
    factors, kept = factorize(table, 3)
    torch.testing.assert_close(factors(torch.arange(40)), table, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(factors.weight, table, atol=1e-5, rtol=1e-5)
    assert kept == pytest.approx(1.0)
    assert float(factors.table.weight.detach().square().mean()) == pytest.approx(1.0, abs=1e-5)
    table = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
    factors, kept = factorize(table, 5)
    singular = torch.linalg.svdvals(table - table.mean(0)).square()
    assert float((factors.weight.detach() - table).square().sum()) == pytest.approx(float(singular[5:].sum()), rel=1e-4)
    assert kept == pytest.approx(float(singular[:5].sum() / singular.sum()), rel=1e-5)


def test_the_rank_of_an_energy_is_the_smallest_that_keeps_it():
    table = torch.randn(60, 10, generator=torch.Generator().manual_seed(1))
    factors, kept = factorize(table, EmbeddingEnergy(energy=0.7))
    rank = factors.table.embedding_dim
    assert kept >= 0.7 > factorize(table, rank - 1)[1]
    assert factorize(table, EmbeddingEnergy(energy=0.99), 4)[0].table.embedding_dim == 4


def test_an_output_layer_that_shares_the_table_shares_the_factors():
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model("bert", **ENCODER, vocab_size=40, max_position_embeddings=26)
    network = transformers.AutoModelForMaskedLM.from_config(config).eval()
    embeddings = network.bert.embeddings
    with torch.no_grad():
        embeddings.word_embeddings.weight.copy_(low_rank(40, 16, 4))
        nn.init.normal_(network.cls.predictions.bias)
    assert network.cls.predictions.decoder.weight is embeddings.word_embeddings.weight
    ids = torch.randint(0, 40, (2, 7))
    expected, before = network(ids).logits, sum(parameter.numel() for parameter in network.parameters())
    (note,) = factorize_embeddings(network, 4, "hf:net")
    torch.testing.assert_close(network(ids).logits.detach(), expected.detach(), atol=1e-4, rtol=1e-4)
    assert before - sum(parameter.numel() for parameter in network.parameters()) == 40 * 16 - (40 * 4 + 4 * 16 + 16)
    assert "640 parameters of width 16 become 240 by rank 4, with 100.0% of the variance" in render(note)
    network(ids).logits.sum().backward()
    assert embeddings.word_embeddings.table.weight.grad is not None


@torch.no_grad()
def test_a_network_of_a_recipe_is_factorized_exported_and_comes_back(tmp_path):
    settings = ModelSettings(source="text_student:mlp", args={"embedding": 8, "width": 4}, factorize_embeddings={"energy": 0.6})
    network = build_model(settings, spec(), seed=0, base=Path()).module
    part = next(part for part in network.modules() if isinstance(part, FactorizedEmbedding))
    assert part.table.embedding_dim < 6
    inputs = padded((3, 6), 6, 0)
    assert export_onnx(network, spec(), tmp_path / "model.onnx") == ()
    session = onnx_session.create_session(tmp_path / "model.onnx")
    feeds = dict(zip(("input_ids", "attention_mask"), (values.numpy() for values in inputs), strict=True))
    torch.testing.assert_close(torch.from_numpy(session.run(None, feeds)[0]), network(*inputs), atol=1e-5, rtol=1e-4)
    reference = build_model(settings, spec(), seed=5, base=Path()).module  # another rank, by its other weights
    save(network, reference, tmp_path / "a.safetensors")
    assert torch.equal(load(tmp_path / "a.safetensors", reference)(*inputs), network(*inputs))


def test_ranks_without_gain_and_networks_without_tokens_are_refused():
    network = nn.Sequential(nn.Embedding(40, 12))
    with pytest.raises(ModelError, match=r"rank 13; the table of net has 40 tokens of width 12, .* up to 8 has fewer"):
        factorize_embeddings(network, 13, "net")
    with pytest.raises(ModelError, match="net has no table"):
        factorize_embeddings(nn.Linear(2, 2), 1, "net")
