"""`ties`: trim, elect sign, merge (Yadav et al. 2023, arXiv:2306.01708).

trim     of each δᵢ = θᵢ − θ₀, the share `density` of the entries with the largest magnitude over all tensors stays; others: 0
elect    γ = sign(Σ wᵢ δᵢ) for each entry
merge    δ = Σ wᵢ δᵢ / Σ wᵢ over the networks whose entry has the sign γ and is not 0;   θ = θ₀ + λ δ
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.merge.method import DifferenceMethod

if TYPE_CHECKING:
    from torch import Tensor


def trimmed(change: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """The entries with the largest magnitude over all tensors; the others are 0.

    Args:
        change: δ by tensor.
        density: Share of the entries that stay; at least one does.
    """
    import torch

    magnitudes = torch.cat([tensor.flatten().abs() for tensor in change.values()])
    kept = max(1, round(density * len(magnitudes)))
    threshold = magnitudes.kthvalue(len(magnitudes) - kept + 1).values
    return {name: tensor * (tensor.abs() >= threshold) for name, tensor in change.items()}


class Ties(DifferenceMethod):
    """Merges what networks learned, without entries that changed little or disagree in sign.

    Attributes:
        density: Share of the entries of each difference that stays.
        scale: λ.
    """

    density: float = Field(default=0.2, gt=0.0, le=1.0)

    def merge_changes(
        self,
        changes: Sequence[Mapping[str, Tensor]],
        shares: Sequence[float],
        seed: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """See the module."""
        kept = [trimmed(change, self.density) for change in changes]
        return {name: _elected([each[name] for each in kept], shares) for name in changes[0]}


def _elected(changes: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """The mean of the entries with the elected sign."""
    import torch

    stacked = torch.stack(list(changes))
    w = stacked.new_tensor(shares).view(-1, *[1] * (stacked.ndim - 1))
    sign = (w * stacked).sum(0).sign()
    agrees = (stacked.sign() == sign) & (stacked != 0)
    total = (w * agrees).sum(0)
    return (w * stacked * agrees).sum(0) / total.where(total > 0, torch.ones_like(total))
