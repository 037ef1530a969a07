"""Rank of factorized embeddings. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compress.core.frozen_model import FrozenModel


class EmbeddingEnergy(FrozenModel):
    """The smallest rank that keeps a fraction of the variance of the vectors of all tokens, as far as it saves parameters.

    Attributes:
        energy: Kept fraction, Σ_{i≤r} s_i² / Σ_i s_i², of the singular values s_i of the centred table.
    """

    energy: float = Field(gt=0.0, lt=1.0)


EmbeddingRank = Annotated[int, Field(ge=1)] | EmbeddingEnergy
"""Rank r of the two factors, or the energy that it keeps."""
