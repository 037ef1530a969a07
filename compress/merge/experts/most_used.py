"""`most_used`: the n experts that the router uses most, side by side (top-K gathering by the shares of the router).

    W_gate = [W_gate,1; …; W_gate,n],  W_up likewise,  W_down = [w_1 W_down,1 | … | w_n W_down,n],  w_e = s_e / Σ_{j≤n} s_j

which computes Σ_e w_e FFN_e(x) exactly: the mixture with constant weights. Its width is n times that of an expert. Kim et al.
2026, arXiv:2605.28207, compare choices of experts for such a concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.core.language import gettext
from compress.merge.experts.method import Expert, ExpertMerge

if TYPE_CHECKING:
    from torch import Tensor


class MostUsedExperts(ExpertMerge):
    """Concatenates the most used experts.

    Attributes:
        experts: n.
    """

    experts: int = Field(default=2, ge=1)

    def merge(self, experts: Sequence[Expert], shares: Tensor) -> Expert:
        """See the module."""
        import torch

        kept = self.kept(shares.tolist())
        weights = shares[list(kept)] / shares[list(kept)].sum()
        gate, up = (torch.cat([getattr(experts[index], name) for index in kept]) for name in ("gate", "up"))
        down = torch.cat([w * experts[index].down for w, index in zip(weights, kept, strict=True)], dim=1)
        return Expert(gate, up, down)

    def kept(self, shares: Sequence[float]) -> tuple[int, ...]:
        """The n experts with the largest shares, in their order."""
        largest = sorted(range(len(shares)), key=lambda index: shares[index], reverse=True)[: self.experts]
        return tuple(sorted(largest))

    def misfit(self, experts: int) -> str | None:
        """A network has fewer than n experts."""
        if self.experts <= experts:
            return None
        return gettext("most_used takes {wanted} experts and a layer has {count}", wanted=self.experts, count=experts)
