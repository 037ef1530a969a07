"""`MergeMethod`: settings and weights in, merged weights out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

if TYPE_CHECKING:
    from torch import Tensor

    Weights = Mapping[str, Tensor]


class MergeMethod(FrozenModel):
    """A way to merge n networks θ₁ … θₙ, whose tensors have the same names and shapes.

    Attributes:
        needs_base: Whether it works on the differences δᵢ = θᵢ − θ₀ from a network θ₀ that all were fine-tuned from.
        most: Largest number of networks; None for any.
        weighs_by_loss: Whether the shares of the networks follow from their losses on validation.
    """

    needs_base: ClassVar[bool] = False
    most: ClassVar[int | None] = None
    weighs_by_loss: ClassVar[bool] = False

    @abstractmethod
    def merge(self, networks: Sequence[Weights], base: Weights | None, shares: Sequence[float], seed: int) -> dict[str, Tensor]:
        """Merged tensors, float32, with the names and shapes of the first network.

        Args:
            networks: θ₁ … θₙ, float32.
            base: θ₀; None for methods that need none.
            shares: wᵢ; their sum is 1.
            seed: Of what is random.
        """

    def shares(self, losses: Sequence[float]) -> tuple[float, ...]:
        """Shares of the networks by their losses, for a method that `weighs_by_loss`."""
        raise NotImplementedError


class DifferenceMethod(MergeMethod):
    """A method that adds to θ₀ what the networks learned since: θ = θ₀ + λ δ, with δ from δᵢ = θᵢ − θ₀.

    Attributes:
        scale: λ.
    """

    needs_base: ClassVar[bool] = True

    scale: float = Field(default=1.0, gt=0.0, le=2.0)

    def merge(self, networks: Sequence[Weights], base: Weights | None, shares: Sequence[float], seed: int) -> dict[str, Tensor]:
        """θ = θ₀ + λ δ.

        Raises:
            ValueError: There is no θ₀.
        """
        if base is None:
            raise ValueError(gettext("the method needs the network that all were fine-tuned from"))
        changes = [{name: tensor - base[name] for name, tensor in network.items()} for network in networks]
        merged = self.merge_changes(changes, shares, seed)
        return {name: tensor + self.scale * merged[name] for name, tensor in base.items()}

    @abstractmethod
    def merge_changes(self, changes: Sequence[Weights], shares: Sequence[float], seed: int) -> dict[str, Tensor]:
        """δ from δ₁ … δₙ; arguments as for `merge`."""
