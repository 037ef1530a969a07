"""`task_arithmetic`: θ = θ₀ + λ Σ n wᵢ δᵢ with δᵢ = θᵢ − θ₀ (Ilharco et al. 2023, arXiv:2212.04089)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.merge.method import DifferenceMethod
from compress.merge.methods.average import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


class TaskArithmetic(DifferenceMethod):
    """Adds what each network learned to the network that all were fine-tuned from.

    Attributes:
        scale: λ. With equal shares, 1 adds each difference whole, and 1/n gives the mean of the weights.
    """

    scale: float = Field(default=0.4, gt=0.0, le=2.0)

    def merge_changes(
        self,
        changes: Sequence[Mapping[str, Tensor]],
        shares: Sequence[float],
        seed: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """δ = Σ n wᵢ δᵢ."""
        return weighted_sum(changes, [len(changes) * share for share in shares])
