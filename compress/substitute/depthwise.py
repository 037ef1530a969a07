"""Depthwise convolutions of 5×5 and more made 3×3, their response kept.

MobileNetV3's minimalistic networks (Howard et al. 2019, arXiv:1905.02244) have 3×3 throughout: 9 multiply-accumulates an output
instead of 25, and runtimes have hand-written kernels for 3×3 alone. A new kernel v (3, 3) is fitted to what the old one w
(K, K) answers to the training images, one channel at a time:

    least squares   v = argmin_v Σ_n (⟨v, p_n⟩ − y_n)² = A⁻¹ b,     A = Σ_n p_n p_nᵀ + λ I,  b = Σ_n p_n y_n + λ w_0
    crop            v = α w_0,                                      α = ⟨ŷ, y⟩ ÷ ⟨ŷ, ŷ⟩,  ŷ_n = ⟨w_0, p_n⟩

Symbols: y_n what w answers at output place n, without bias; p_n (9,) the 3×3 patch of the input there; w_0 (9,) the middle of
w; λ = 1e-4 · mean of the diagonal of A, which lets w_0 decide where the images do not. Stride and dilation stay, and padding
shrinks so that patches have the same centres.

The explained part of a response is R² = 1 − Σ (⟨v, p_n⟩ − y_n)² ÷ Σ y_n², over all channels of a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.record import Fact
from compress.core.registry import lookup
from compress.substitute import fit_batches as samples
from compress.substitute.trace_calls import CallTrace

SIDE = 3
_RIDGE = 1e-4
_AT_ONCE = 4
"""Images whose patches are held at once."""
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
    """Depthwise convolutions with a side over 3, by name, with the reason why one cannot shrink; None where it can."""
    return {
        name: _obstacle(name, part) if trace.uses_weight(part) else Fact.of("substitute.kernel_weight", name)
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1 and max(part.kernel_size) > SIDE
    }


def _obstacle(name: str, part: nn.Conv2d) -> Fact | None:
    if any(side % 2 == 0 for side in part.kernel_size):
        return Fact.of("substitute.kernel_no_center", name, height=part.kernel_size[0], width=part.kernel_size[1])
    if part.padding == "valid" or any(new < 0 for new in _padding(part)):
        return Fact.of("substitute.kernel_padding", name, padding=str(part.padding))
    return None


def _trimmed(part: nn.Conv2d) -> tuple[int, int]:
    """Pixels that the padding loses on each side, (height, width)."""
    tall, wide = (d * (side - min(side, SIDE)) // 2 for side, d in zip(part.kernel_size, part.dilation, strict=True))
    return tall, wide


def _padding(part: nn.Conv2d) -> tuple[int, ...]:
    """Padding with the smaller kernel; timm's `Conv2dSame` finds its own and says 0."""
    if isinstance(part.padding, str) or "Same" in type(part).__name__:
        return ()
    return tuple(pad - less for pad, less in zip(part.padding, _trimmed(part), strict=True))


def center_crop(part: nn.Conv2d) -> Tensor:
    """w_0: the middle of the kernels, (out, 1, 3, 3), or as narrow as the kernel is."""
    weight = part.weight.detach()
    for dim, side in enumerate(part.kernel_size, start=2):
        kept = min(side, SIDE)
        weight = weight.narrow(dim, (side - kept) // 2, kept)
    return weight.clone()


def collect_moments(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor]) -> dict[str, Moments]:
    """Sums over all patches that training images give, for each layer that they reach."""
    found: dict[str, Moments] = {}

    def seen(name: str, x: Tensor, y: Tensor) -> None:
        part = network.get_submodule(name)
        assert isinstance(part, nn.Conv2d)  # noqa: S101  # `large` names nothing else
        for start in range(0, len(x), _AT_ONCE):
            few = slice(start, start + _AT_ONCE)
            new, old = _moments(part, x[few], y[few]), found.get(name)
            found[name] = new if old is None else Moments(old.a + new.a, old.b + new.b, old.yy + new.yy)

    samples.run_hooks(network, names, batches, seen)
    return found


def _moments(part: nn.Conv2d, x: Tensor, y: Tensor) -> Moments:
    """Of one batch: patches are what nine one-hot kernels answer, so that stride, dilation and padding are the layer's own."""
    probe = copy.deepcopy(part)
    probe.bias = None
    shrink(probe, center_crop(part))
    wanted = (y if part.bias is None else y - part.bias.detach().reshape(1, -1, 1, 1)).double().flatten(2)
    kernels = torch.eye(probe.weight[0].numel()).reshape(-1, 1, 1, *probe.kernel_size)
    rows = []
    for kernel in kernels.to(x):
        probe.weight = nn.Parameter(kernel.expand_as(probe.weight).contiguous())
        rows.append(probe.forward(x).double().flatten(2))  # not called: its copied hooks must stay quiet
    p = torch.stack(rows, 2)  # (N, C, 9, L)
    a, b = torch.einsum("ncil,ncjl->cij", p, p), torch.einsum("ncil,ncl->ci", p, wanted)
    return Moments(a, b, wanted.square().sum((0, 2)))


def least_squares(sums: Moments, w_0: Tensor) -> Tensor:
    """Kernels (C, 9) of the least squared error.

    Args:
        sums: Of the layer.
        w_0: Middle of the old kernels, (C, 9).
    """
    taps = sums.a.shape[-1]
    lam = _RIDGE * sums.a.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    a = sums.a + lam[:, None, None] * torch.eye(taps, dtype=torch.float64)
    v: Tensor = torch.linalg.solve(a, sums.b + lam[:, None] * w_0.double())
    return v


def scaled_center_crop(sums: Moments, w_0: Tensor) -> Tensor:
    """The middle, times one factor a channel; arguments as those of `least_squares`."""
    w = w_0.double()
    answered = torch.einsum("ci,cij,cj->c", w, sums.a, w)
    alpha = torch.where(answered > 0, (w * sums.b).sum(1) / answered.clamp(min=1e-30), torch.ones(()).double())
    return alpha[:, None] * w


def fit_kernel(part: nn.Conv2d, sums: Moments | None, way: str) -> float | None:
    """Make a layer 3×3 in place.

    Args:
        part: One of `find_large`.
        sums: What its old kernel answers; None where no image reaches it, which leaves the middle of the old kernel.
        way: `least_squares` or `crop`.

    Returns:
        R² of its response.
    """
    w_0 = center_crop(part)
    if sums is None:
        shrink(part, w_0)
        return None
    solve: Fit = lookup("kernel", way).load()
    v = solve(sums, w_0.flatten(1))
    shrink(part, v.reshape(w_0.shape).to(w_0))
    return sums.explained(v)


def shrink(part: nn.Conv2d, weight: Tensor) -> None:
    """Give a layer a smaller kernel with the same centres, in place; its plain numbers follow."""
    trimmed, padding = _trimmed(part), _padding(part)
    part.padding = (padding[0], padding[1]) if padding else part.padding
    part.kernel_size = (weight.shape[2], weight.shape[3])
    if padding or part.padding == "same":
        repeated = [pad - trimmed[1 - index // 2] for index, pad in enumerate(part._reversed_padding_repeated_twice)]
        part._reversed_padding_repeated_twice = repeated
    part.weight = nn.Parameter(weight.contiguous(), requires_grad=part.weight.requires_grad)
