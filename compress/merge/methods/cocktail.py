"""`cocktail`: θ = Σ wᵢ θᵢ with w = softmax(−Lᵢ / τ) (Xiao et al. 2023, LM-Cocktail, arXiv:2311.13534).

Lᵢ is the loss of network i on the validation samples of the task; the paper takes five samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from compress.merge.methods.average import Average


class Cocktail(Average):
    """The mean of the weights, in which networks with a small loss on validation count more.

    Attributes:
        temperature: τ; smaller gives more to the best network.
    """

    weighs_by_loss: ClassVar[bool] = True

    temperature: float = Field(default=5.0, gt=0.0)

    def shares(self, losses: Sequence[float]) -> tuple[float, ...]:
        """wᵢ = exp(−Lᵢ / τ) / Σ exp(−Lⱼ / τ)."""
        least = min(losses)
        parts = [math.exp(-(loss - least) / self.temperature) for loss in losses]
        return tuple(part / sum(parts) for part in parts)
