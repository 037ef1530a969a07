"""`dare`: drop and rescale (Yu et al. 2024, arXiv:2311.03099).

Each entry of δᵢ = θᵢ − θ₀ is set to 0 with probability p, and the rest is divided by 1 − p; then θ = θ₀ + λ Σ n wᵢ δᵢ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.merge.method import MergeMethod
from compress.merge.methods.average import weighted_sum
from compress.merge.methods.task_arithmetic import added, differences

if TYPE_CHECKING:
    from torch import Tensor


class Dare(MergeMethod):
    """Adds random parts of what each network learned, rescaled, so that the parts interfere less.

    Attributes:
        drop: p. The paper drops 0.9 of the changes of large language models; small networks bear less.
        scale: λ.
    """

    needs_base: ClassVar[bool] = True

    drop: float = Field(default=0.5, ge=0.0, lt=1.0)
    scale: float = Field(default=0.4, gt=0.0, le=2.0)

    def merge(
        self, networks: Sequence[Mapping[str, Tensor]], base: Mapping[str, Tensor] | None, shares: Sequence[float], seed: int
    ) -> dict[str, Tensor]:
        """θ = θ₀ + λ Σ n wᵢ mᵢ δᵢ / (1 − p) with masks mᵢ of independent entries."""
        import torch

        origin, changes = differences(networks, base)
        generator = torch.Generator().manual_seed(seed)
        kept = [
            {
                name: tensor * (torch.rand(tensor.shape, generator=generator) >= self.drop) / (1 - self.drop)
                for name, tensor in change.items()
            }
            for change in changes
        ]
        return added(origin, weighted_sum(kept, shares), self.scale * len(networks))
