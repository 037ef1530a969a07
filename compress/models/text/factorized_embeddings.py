"""Vectors of tokens as a product of two factors (Lan et al. 2020, ALBERT, arXiv:1909.11942, section 3.1).

The table T (V, D) becomes a narrow table A (V, r) and a projection P (r, D) with an offset μ:

    T ≈ A P + 1 μᵀ,   T − 1 μᵀ = U S Wᵀ,   A = U_r S_r / c,   P = c W_rᵀ,   c = ‖S_r‖ / √(V r)

which has the least squared error of all pairs of rank r with an offset (Eckart & Young 1936), and V D parameters become
V r + r D + D. The rows of A have a root mean square of 1. An output layer that shares the table shares both factors:

    z = T h + b ≈ A (P h) + (μᵀ h) 1 + b
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.models.text.embedding_rank import EmbeddingRank
from compress.models.text.keep_layers import find_pretrained
from compress.models.text.token_table import find_part, find_table, principal_components, put_module


class FactorizedEmbedding(nn.Module):
    """Token numbers (…) → vectors (…, D), by a row of A and the projection P.

    Args:
        table: A, an embedding of width r.
        projection: P and μ, a linear layer from r to D.
    """

    def __init__(self, table: nn.Embedding, projection: nn.Linear) -> None:
        super().__init__()
        self.table, self.projection = table, projection

    def forward(self, ids: Tensor) -> Tensor:
        """The vectors."""
        vectors: Tensor = self.projection(self.table(ids))
        return vectors

    @property
    def weight(self) -> Tensor:
        """The whole table (V, D), for layers that read it."""
        vectors: Tensor = self.projection(self.table.weight)
        return vectors


class FactorizedOutput(nn.Module):
    """Features (…, D) → logits of tokens (…, V), by the factors that the embedding has.

    Args:
        embedding: Its factors are shared.
        bias: b, (V,), or None.
    """

    def __init__(self, embedding: FactorizedEmbedding, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.table, self.projection, self.bias = embedding.table, embedding.projection, bias

    def forward(self, features: Tensor) -> Tensor:
        """The logits."""
        narrow = F.linear(features, self.projection.weight.T)
        logits = F.linear(narrow, self.table.weight, self.bias)
        return logits + F.linear(features, self.projection.bias[None, :])


@torch.no_grad()
def factorize(table: Tensor, rank: EmbeddingRank, most: int | None = None) -> tuple[FactorizedEmbedding, float]:
    """The factors of a table.

    Args:
        table: T, (V, D).
        rank: r ≤ D, or the energy that it keeps.
        most: Largest rank that an energy may need; None for D.

    Returns:
        The factors, and the kept fraction of the variance.
    """
    count, width = table.shape
    mean, vectors, energy = principal_components(table)
    r = rank if isinstance(rank, int) else min(most or width, int((energy < rank.energy).sum()) + 1)
    narrow = (table.double() - mean) @ vectors[:, :r]
    scale = narrow.square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    factors = FactorizedEmbedding(nn.Embedding(count, r), nn.Linear(r, width))
    factors.table.weight.copy_(narrow / scale)
    factors.projection.weight.copy_(vectors[:, :r] * scale)
    factors.projection.bias.copy_(mean)
    return factors, float(energy[r - 1])


def factorize_embeddings(module: nn.Module, rank: EmbeddingRank, name: str) -> tuple[Fact, ...]:
    """Factorize the vectors of tokens in a network, in place, with the output layers that share them.

    Args:
        module: The network.
        rank: r, or the energy that it keeps.
        name: Source of the network, for messages.

    Returns:
        A note on rank, energy and parameters.

    Raises:
        ModelError: There is no table of tokens, or factors of this rank have no fewer parameters.
    """
    place, table = _table(module, name)
    count, width = table.weight.shape
    most = (count * width - width - 1) // (count + width)
    if isinstance(rank, int) and rank > min(width, most):
        msg = gettext(
            "factorize_embeddings has rank {rank}; the table of {name} has {count} tokens of width {width}, so only a rank of "
            "up to {most} has fewer parameters",
            rank=rank,
            name=name,
            count=count,
            width=width,
            most=min(width, most),
        )
        raise ModelError(msg)
    factors, kept = factorize(table.weight.detach().cpu(), rank, max(1, min(width, most)))
    r, new = factors.table.embedding_dim, sum(parameter.numel() for parameter in factors.parameters())
    linear = {key: part for key, part in module.named_modules() if isinstance(part, nn.Linear)}
    for key, part in linear.items():
        if part.weight is table.weight:
            put_module(module, key, FactorizedOutput(factors, part.bias))
    put_module(module, place, factors)
    note = Fact.of("models.embeddings_factorized", name, rank=r, width=width, kept=kept, before=count * width, after=new)
    return (note,)


def _table(module: nn.Module, name: str) -> tuple[str, nn.Embedding]:
    network = find_pretrained(module)
    own = find_table(module) if network is None else find_part(module, network.get_input_embeddings())
    if own is None or not isinstance(own[1], nn.Embedding):
        msg = gettext("factorize_embeddings: {name} has no table with the vectors of tokens; leave it out", name=name)
        raise ModelError(msg)
    return own[0], own[1]
