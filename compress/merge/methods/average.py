"""`average`: θ = Σ wᵢ θᵢ, for networks that were fine-tuned from one (Wortsman et al. 2022, model soups, arXiv:2203.05482)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from compress.merge.method import MergeMethod

if TYPE_CHECKING:
    from torch import Tensor


def weighted_sum(networks: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """Σ wᵢ θᵢ for each tensor.

    Args:
        networks: Tensors by name, of the same shapes.
        shares: wᵢ.
    """
    return {
        name: sum((share * network[name] for share, network in zip(shares[1:], networks[1:], strict=True)), shares[0] * first)
        for name, first in networks[0].items()
    }


class Average(MergeMethod):
    """The weighted mean of the weights."""

    def merge(
        self,
        networks: Sequence[Mapping[str, Tensor]],
        base: Mapping[str, Tensor] | None,  # noqa: ARG002
        shares: Sequence[float],
        seed: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """θ = Σ wᵢ θᵢ."""
        return weighted_sum(networks, shares)
