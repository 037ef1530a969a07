"""Fake quantization: round values to the integer grid but represent them as floats, with a straight-through gradient.

    x̂ = s · q,      q = clip(round(x / s), l, h)

The derivative of round is zero almost everywhere, so the backward pass uses the identity instead (straight-through estimator;
Bengio et al. 2013, arXiv:1308.3432; for quantization Jacob et al. 2018, arXiv:1712.05877, section 3). With v = x / s

    ∂x̂/∂x = 1 where l ≤ v ≤ h, else 0          ∂x̂/∂s = q − v where l ≤ v ≤ h, else q

The second is LSQ's gradient of a learned scale (Esser et al. 2020, arXiv:1902.08153, eq. 3). An unsigned tensor with zero point
z has l = −z, h = 255 − z. `FakeQuantize` learns θ with s = s₀ eᶿ, so that an optimizer step changes s by a relative amount (log
domain as in TQT, Jain et al. 2020, arXiv:1903.08066, section 3.2). Its gradient has LSQ's factor 1 / √(N h), where N is the
number of values that share a scale.

Symbols: x any shape; s > 0, a scalar or one value per index of an axis, shaped to broadcast against x; l ≤ 0 < h integers.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn


class _FakeQuantizeContext(Protocol):
    """Values that the forward pass saves for the backward pass: v, q, the limits and the shape of s."""

    limits: tuple[float, float]
    shape: torch.Size
    saved_tensors: tuple[Tensor, Tensor]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass."""


class _FakeQuantizeFunction(torch.autograd.Function):
    """x̂ and the gradients of the module docstring; saves only v and q for the backward pass."""

    @staticmethod
    def forward(ctx: _FakeQuantizeContext, x: Tensor, s: Tensor, low: float, high: float) -> Tensor:
        v = x / s
        q = v.round().clamp(low, high)
        ctx.save_for_backward(v, q)
        ctx.limits, ctx.shape = (low, high), s.shape
        return q * s

    @staticmethod
    def backward(ctx: _FakeQuantizeContext, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (grad,) = grads
        v, q = ctx.saved_tensors
        inside = (v >= ctx.limits[0]) & (v <= ctx.limits[1])
        grad_s = None
        if ctx.needs_input_grad[1]:
            grad_s = (grad * torch.where(inside, q - v, q)).sum_to_size(ctx.shape)
        return grad * inside, grad_s, None, None


def fake_quantize(x: Tensor, s: Tensor, low: float, high: float) -> Tensor:
    """x̂ with gradients for x and s, see the module docstring.

    Args:
        x: Values.
        s: Scale, broadcast against x.
        low: Smallest integer, l.
        high: Largest integer, h.
    """
    x_hat: Tensor = _FakeQuantizeFunction.apply(x, s, low, high)
    return x_hat


class FakeQuantize(nn.Module):
    """Fake quantization of one tensor, with a scale that may be learned.

    Args:
        s: s₀, a scalar, or (K,) for one scale per index of `axis`.
        low: Smallest integer, l.
        high: Largest integer, h.
        axis: Axis of the input with one scale per index; None for one scale.
        batched: Whether the first axis of the input is the batch.
        learned: Whether the scale is trained.

    Attributes:
        trains_beside_adapters: The scale is trained also where adapters are trained in place of the weights.
    """

    trains_beside_adapters = True

    def __init__(
        self, s: Tensor, low: int, high: int, *, axis: int | None = None, batched: bool = False, learned: bool = True
    ) -> None:
        super().__init__()
        self.low, self.high, self.axis, self.batched = low, high, axis, batched
        self.register_buffer("s0", s.float().clone())
        self.register_buffer(
            "limits", torch.tensor([float(low), float(high)])
        )  # part of the checkpoint's fingerprint, so that a training with other bits is not resumed
        self.theta = nn.Parameter(torch.zeros_like(s, dtype=torch.float32), requires_grad=learned)

    @property
    def scale(self) -> Tensor:
        """Scale s, in the shape of s₀."""
        s: Tensor = self.s0 * self.theta.exp()  # type: ignore[operator]  # nn.Module types a buffer as Tensor | Module
        return s

    def forward(self, x: Tensor) -> Tensor:
        """Quantized values x̂, in the shape of x."""
        count = x.numel() / (x.shape[0] if self.batched else self.theta.numel())
        s = scale_gradient(self.scale, 1 / math.sqrt(max(count, 1.0) * self.high))
        if self.axis is not None:
            s = s.reshape([-1 if axis == self.axis % x.ndim else 1 for axis in range(x.ndim)])
        return fake_quantize(x, s, self.low, self.high)


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return x with its gradient multiplied by `factor` (Esser et al. 2020, appendix A)."""
    return x.detach() + (x - x.detach()) * factor
