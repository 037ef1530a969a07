"""Depthwise convolutions of 5×5 and larger shrunk to 3×3.

The minimalistic MobileNetV3 (Howard et al. 2019, arXiv:1905.02244) has 3×3 kernels throughout: 9 multiply-accumulates per
output instead of 25, and runtimes have hand-written kernels for 3×3 only. A new kernel v (3, 3) is fitted to the response of
the old kernel w (K, K) on training images, for each channel:

    least squares   v = argmin_v Σ_n (⟨v, p_n⟩ − y_n)² = A⁻¹ b,     A = Σ_n p_n p_nᵀ + λ I,  b = Σ_n p_n y_n + λ w_0
    crop            v = α w_0,                                      α = ⟨ŷ, y⟩ ÷ ⟨ŷ, ŷ⟩,  ŷ_n = ⟨w_0, p_n⟩

Symbols: y_n response of w at output position n, without bias; p_n (9,) the 3×3 input patch at n; w_0 (9,) the centre of w;
λ = 1e-4 · mean of the diagonal of A, which keeps v near w_0 where the images do not determine it. Stride and dilation stay.
The padding is reduced so that the patches keep their centres.

The quality of a fit is R² = 1 − Σ (⟨v, p_n⟩ − y_n)² ÷ Σ y_n², over all channels of a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.registry import lookup
from compress.substitute.trace_calls import CallTrace, run_hooks

SIDE = 3
_RIDGE = 1e-4
_AT_ONCE = 4
"""Number of images whose patches are in memory at a time."""
Fit = Callable[["Moments", Tensor], Tensor]


@dataclass(eq=False)
class Moments:
    """Sums over patches of one layer, float64.

    Attributes:
        a: Σ p pᵀ, (C, 9, 9).
        b: Σ p y, (C, 9).
        yy: Σ y², (C,).
    """

    a: Tensor
    b: Tensor
    yy: Tensor

    def explained(self, v: Tensor) -> float:
        """R² of kernels v, (C, 9)."""
        error = self.yy - 2 * (v * self.b).sum(1) + torch.einsum("ci,cij,cj->c", v, self.a, v)
        return float(1 - error.sum() / self.yy.sum().clamp(min=1e-30))


def find_large(network: nn.Module, trace: CallTrace) -> dict[str, Fact | None]:
    """Depthwise convolutions with a kernel side over 3, by name: the reason why it cannot shrink, or None if it can."""
    return {
        name: _reason_to_keep(name, part) if trace.uses_weight(part) else Fact.of("substitute.kernel_weight", name)
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1 and max(part.kernel_size) > SIDE
    }


def _reason_to_keep(name: str, part: nn.Conv2d) -> Fact | None:
    if any(side % 2 == 0 for side in part.kernel_size):
        return Fact.of("substitute.kernel_no_center", name, height=part.kernel_size[0], width=part.kernel_size[1])
    if part.padding == "valid" or any(new < 0 for new in _padding(part)):
        return Fact.of("substitute.kernel_padding", name, padding=str(part.padding))
    return None


def _trimmed(part: nn.Conv2d) -> tuple[int, int]:
    """Reduction of the padding on each side, (height, width), pixels."""
    tall, wide = (d * (side - min(side, SIDE)) // 2 for side, d in zip(part.kernel_size, part.dilation, strict=True))
    return tall, wide


def _padding(part: nn.Conv2d) -> tuple[int, ...]:
    """Padding with the smaller kernel; timm's `Conv2dSame` computes its own padding and has the attribute 0."""
    if isinstance(part.padding, str) or "Same" in type(part).__name__:
        return ()
    return tuple(pad - less for pad, less in zip(part.padding, _trimmed(part), strict=True))


def center_crop(part: nn.Conv2d) -> Tensor:
    """w_0: the centre of the kernels, (out, 1, 3, 3); a side below 3 keeps its size."""
    weight = part.weight.detach()
    for dim, side in enumerate(part.kernel_size, start=2):
        new_side = min(side, SIDE)
        weight = weight.narrow(dim, (side - new_side) // 2, new_side)
    return weight.clone()


def collect_moments(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor]) -> dict[str, Moments]:
    """Sums over all patches of the training images, for each layer that runs."""
    moments: dict[str, Moments] = {}

    def add(name: str, x: Tensor, y: Tensor) -> None:
        part = network.get_submodule(name)
        assert isinstance(part, nn.Conv2d)  # noqa: S101  # `find_large` names only convolutions
        for start in range(0, len(x), _AT_ONCE):
            few = slice(start, start + _AT_ONCE)
            new, old = _moments(part, x[few], y[few]), moments.get(name)
            moments[name] = new if old is None else Moments(old.a + new.a, old.b + new.b, old.yy + new.yy)

    run_hooks(network, names, batches, add)
    return moments


def _moments(part: nn.Conv2d, x: Tensor, y: Tensor) -> Moments:
    """Moments of one batch. Nine one-hot kernels extract the patches, with the layer's own stride, dilation and padding."""
    probe = copy.deepcopy(part)
    probe.bias = None
    shrink(probe, center_crop(part))
    response = (y if part.bias is None else y - part.bias.detach().reshape(1, -1, 1, 1)).double().flatten(2)
    kernels = torch.eye(probe.weight[0].numel()).reshape(-1, 1, 1, *probe.kernel_size)
    rows = []
    for kernel in kernels.to(x):
        probe.weight = nn.Parameter(kernel.expand_as(probe.weight).contiguous())
        rows.append(probe.forward(x).double().flatten(2))  # `forward`, because calling the copy would run the copied hooks
    p = torch.stack(rows, 2)  # (N, C, 9, L)
    a, b = torch.einsum("ncil,ncjl->cij", p, p), torch.einsum("ncil,ncl->ci", p, response)
    return Moments(a, b, response.square().sum((0, 2)))


def least_squares(sums: Moments, w_0: Tensor) -> Tensor:
    """Kernels (C, 9) with the least squared error.

    Args:
        sums: Moments of the layer.
        w_0: Centre of the old kernels, (C, 9).
    """
    taps = sums.a.shape[-1]
    lam = _RIDGE * sums.a.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    a = sums.a + lam[:, None, None] * torch.eye(taps, dtype=torch.float64)
    v: Tensor = torch.linalg.solve(a, sums.b + lam[:, None] * w_0.double())
    return v


def scaled_center_crop(sums: Moments, w_0: Tensor) -> Tensor:
    """The centre w_0 times one factor per channel; arguments as in `least_squares`."""
    w = w_0.double()
    energy = torch.einsum("ci,cij,cj->c", w, sums.a, w)
    alpha = torch.where(energy > 0, (w * sums.b).sum(1) / energy.clamp(min=1e-30), torch.ones(()).double())
    return alpha[:, None] * w


def fit_kernel(part: nn.Conv2d, sums: Moments | None, method: str) -> float | None:
    """Shrink a layer to 3×3 in place.

    Args:
        part: One of `find_large`.
        sums: Moments of the layer; None keeps the centre of the old kernel, for a layer that did not run.
        method: One of `compress methods kernel`.

    Returns:
        R² of the fit; None without moments.
    """
    w_0 = center_crop(part)
    if sums is None:
        shrink(part, w_0)
        return None
    solve: Fit = lookup("kernel", method).load()
    v = solve(sums, w_0.flatten(1))
    shrink(part, v.reshape(w_0.shape).to(w_0))
    return sums.explained(v)


def shrink(part: nn.Conv2d, weight: Tensor) -> None:
    """Give a layer a smaller kernel with the same centres, in place, and adapt its padding."""
    trimmed, padding = _trimmed(part), _padding(part)
    part.padding = (padding[0], padding[1]) if padding else part.padding
    part.kernel_size = (weight.shape[2], weight.shape[3])
    if padding or part.padding == "same":
        repeated = [pad - trimmed[1 - index // 2] for index, pad in enumerate(part._reversed_padding_repeated_twice)]
        part._reversed_padding_repeated_twice = repeated
    part.weight = nn.Parameter(weight.contiguous(), requires_grad=part.weight.requires_grad)
