"""`slerp`: spherical interpolation of two networks, tensor by tensor (Shoemake 1985).

θ = [sin((1 − t) Ω) θ₁ + sin(t Ω) θ₂] / sin Ω,   cos Ω = θ₁·θ₂ / (‖θ₁‖ ‖θ₂‖),   t = w₂
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.merge.method import MergeMethod

if TYPE_CHECKING:
    from torch import Tensor

PARALLEL = 1e-4
"""sin Ω below which the linear interpolation is used, which differs by less than the rounding of float32."""


class Slerp(MergeMethod):
    """Interpolates directions and lengths of two networks; their shares are 1 − t and t."""

    most: ClassVar[int | None] = 2

    def merge(
        self,
        networks: Sequence[Mapping[str, Tensor]],
        base: Mapping[str, Tensor] | None,  # noqa: ARG002
        shares: Sequence[float],
        seed: int,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """See the module."""
        first, second = networks
        return {name: slerp(tensor, second[name], shares[1]) for name, tensor in first.items()}


def slerp(first: Tensor, second: Tensor, t: float) -> Tensor:
    """θ between θ₁ (t = 0) and θ₂ (t = 1).

    Args:
        first: θ₁, of any shape.
        second: θ₂, of the same shape.
        t: From 0 to 1.
    """
    import torch

    a, b = first.double(), second.double()
    length = a.norm() * b.norm()
    cosine = ((a * b).sum() / length).clamp(-1, 1) if length > 0 else a.new_ones(())
    omega = torch.arccos(cosine)
    sine = omega.sin()
    if sine.abs() < PARALLEL:
        return ((1 - t) * a + t * b).to(first.dtype)
    return ((((1 - t) * omega).sin() * a + (t * omega).sin() * b) / sine).to(first.dtype)
