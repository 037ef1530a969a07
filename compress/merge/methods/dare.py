"""`dare`: drop and rescale (Yu et al. 2024, arXiv:2311.03099).

Each entry of δᵢ = θᵢ − θ₀ is set to 0 with probability p, and the rest is divided by 1 − p; then θ = θ₀ + λ Σ n wᵢ δᵢ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.merge.methods.task_arithmetic import TaskArithmetic

if TYPE_CHECKING:
    from torch import Tensor


class Dare(TaskArithmetic):
    """Adds random parts of what each network learned, rescaled, so that the parts interfere less.

    Attributes:
        drop: p. The paper drops 0.9 of the changes of large language models; small networks bear less.
        scale: λ.
    """

    drop: float = Field(default=0.5, ge=0.0, lt=1.0)

    def merge_changes(self, changes: Sequence[Mapping[str, Tensor]], shares: Sequence[float], seed: int) -> dict[str, Tensor]:
        """δ = Σ n wᵢ mᵢ δᵢ / (1 − p) with masks mᵢ of independent entries."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        kept = [
            {
                name: tensor * (torch.rand(tensor.shape, generator=generator) >= self.drop) / (1 - self.drop)
                for name, tensor in change.items()
            }
            for change in changes
        ]
        return super().merge_changes(kept, shares, seed)
