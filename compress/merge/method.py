"""`MergeMethod`: settings and weights in, merged weights out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.frozen_model import FrozenModel

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
