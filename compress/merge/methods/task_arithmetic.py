"""`task_arithmetic`: θ = θ₀ + λ Σ n wᵢ δᵢ with δᵢ = θᵢ − θ₀ (Ilharco et al. 2023, arXiv:2212.04089)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.language import gettext
from compress.merge.method import MergeMethod
from compress.merge.methods.average import weighted_sum

if TYPE_CHECKING:
    from torch import Tensor


def differences(
    networks: Sequence[Mapping[str, Tensor]], base: Mapping[str, Tensor] | None
) -> tuple[Mapping[str, Tensor], list[dict[str, Tensor]]]:
    """θ₀, and δᵢ = θᵢ − θ₀ of each network.

    Raises:
        ValueError: There is no θ₀.
    """
    if base is None:
        raise ValueError(gettext("the method needs the network that all were fine-tuned from"))
    return base, [{name: tensor - base[name] for name, tensor in network.items()} for network in networks]


def added(base: Mapping[str, Tensor], change: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """θ₀ + λ δ for each tensor."""
    return {name: tensor + scale * change[name] for name, tensor in base.items()}


class TaskArithmetic(MergeMethod):
    """Adds what each network learned to the network that all were fine-tuned from.

    Attributes:
        scale: λ. With equal shares, 1 adds each difference whole, and 1/n gives the mean of the weights.
    """

    needs_base: ClassVar[bool] = True

    scale: float = Field(default=0.4, gt=0.0, le=2.0)

    def merge(
        self,
        networks: Sequence[Mapping[str, Tensor]],
        base: Mapping[str, Tensor] | None,
        shares: Sequence[float],
        seed: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """θ = θ₀ + λ Σ n wᵢ δᵢ."""
        origin, changes = differences(networks, base)
        return added(origin, weighted_sum(changes, shares), self.scale * len(networks))
