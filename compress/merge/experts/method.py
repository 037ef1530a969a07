"""`ExpertMerge`: experts and the shares of the router in, one feed-forward network out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from compress.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    from torch import Tensor


class Expert(NamedTuple):
    """Weights of one expert.

    Attributes:
        gate: W_gate, (H, D).
        up: W_up, (H, D).
        down: W_down, (D, H).
    """

    gate: Tensor
    up: Tensor
    down: Tensor

    def ordered(self, units: Tensor) -> Expert:
        """The same function with its H hidden units in another order, int64 (H,)."""
        return Expert(self.gate[units], self.up[units], self.down[:, units])


class ExpertMerge(FrozenModel):
    """A way to merge the E experts of a layer: Xue et al. 2022, "One Student Knows All Experts Know", arXiv:2201.10890.

    Attributes:
        shares: Shares s_e of the experts: `frequency`, the mean weight that the router gives each on training samples, or
            `uniform`.
    """

    shares: Literal["frequency", "uniform"] = "frequency"

    @abstractmethod
    def merge(self, experts: Sequence[Expert], shares: Tensor) -> Expert:
        """The merged weights, float32.

        Args:
            experts: Weights of the experts, float32, of one width.
            shares: s, (E,), whose sum is 1.
        """

    def kept(self, shares: Sequence[float]) -> tuple[int, ...]:
        """Indices of the experts that have a part in the result."""
        return tuple(range(len(shares)))

    def misfit(self, experts: int) -> str | None:
        """Why the method does not fit a layer with so many experts; None where it does."""
        return None if experts else ""
