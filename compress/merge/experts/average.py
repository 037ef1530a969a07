"""`average`: W = Σ_e s_e W_e for each of the three matrices (averaging of Xue et al. 2022, arXiv:2201.10890).

The hidden units of the experts are in no common order unless they began as copies of one network, so they are first matched
with those of the expert with the largest share, see `align`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.merge.experts.align import aligned
from compress.merge.experts.method import Expert, ExpertMerge

if TYPE_CHECKING:
    from torch import Tensor


class AverageExperts(ExpertMerge):
    """The mean of the experts, of the width of one.

    Attributes:
        align: Match the hidden units first.
    """

    align: bool = True

    def merge(self, experts: Sequence[Expert], shares: Tensor) -> Expert:
        """See the module."""
        reference = experts[int(shares.argmax())]
        ordered = [aligned(expert, reference) for expert in experts] if self.align else experts
        gate, up, down = (
            sum((float(share) * part for share, part in zip(shares[1:], parts[1:], strict=True)), float(shares[0]) * parts[0])
            for parts in zip(*ordered, strict=True)
        )
        return Expert(gate, up, down)
