"""BRECQ: layers of a block are rounded together, so that the block's output errs least where the loss minds it.

Li et al. 2021, BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction, arXiv:2102.05426. A block's
output is z from what the float network gives it, and ẑ from x̂, what the blocks before it give once they are rounded:

    min over V₁ … V_m   E[ Σ_i f_i (z_i − ẑ_i)² ] + λ Σ (1 − |2 h(V) − 1|^β),        f_i = E[(∂L / ∂z_i)²]       (eq. 10)

    ẑ = block(x̂; Ŵ₁ … Ŵ_m),        Ŵ = s clip(⌊W / s⌋ + h(V), l, h)

f is the diagonal of the Fisher information, its mean over the samples, or 1 where it is not known. AdaRound's are
h(V) = clip(σ(V)(ζ − γ) + γ, 0, 1), β and the regularizer (Nagel et al. 2020, arXiv:2004.10568, eq. 23, 24). The first term is
in units of what rounding to the nearest costs, times a twelfth of the number of weights, which is its size there. A block whose
learned integers have more error on the samples than the nearest ones takes those.

Symbols: W any shape; s > 0, shaped to broadcast against W; x̂, z (N, …); f shaped as one sample of z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from compress.quantize.ptq.quantized_weight import int_range

ZETA, GAMMA = 1.1, -0.1
STRENGTH = 0.3
"""λ."""
FREE = 0.2
"""Part of the steps before λ counts."""
RATE = 3e-2

Block = Callable[[Sequence[Tensor], Tensor], Tensor]
"""From weights and inputs to outputs."""


def brecq(
    block: Block,
    weights: Sequence[Tensor],
    s: Sequence[Tensor],
    x: Tensor,
    z: Tensor,
    bits: int,
    *,
    iterations: int,
    fisher: Tensor | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> tuple[list[Tensor], float, float]:
    """Integers q of each weight, whose block error is not above that of rounding to the nearest.

    Args:
        block: Computes the block with other weights.
        weights: W of each layer.
        s: Steps of each.
        x: x̂, inputs of the block.
        z: Outputs of the float block.
        bits: Levels are 2^bits.
        iterations: Steps of Adam, over batches of samples.
        fisher: f; None for 1.
        batch_size: Samples of a step.
        seed: Of the order of samples.

    Returns:
        q shaped as the weights, int8; the block error of q, and of rounding to the nearest.
    """
    low, high = int_range(bits)
    plain = [(w / step).round().clamp(low, high) for w, step in zip(weights, s, strict=True)]
    error = block_error(block, [q * step for q, step in zip(plain, s, strict=True)], x, z, fisher, batch_size=batch_size)
    if error == 0 or iterations == 0:
        return [q.to(torch.int8) for q in plain], error, error
    unit = sum(w.numel() for w in weights) / 12 / error
    learned = _learned(block, weights, s, x, z, (low, high), iterations, fisher, batch_size, seed, unit)
    values = [q * step for q, step in zip(learned, s, strict=True)]
    found = block_error(block, values, x, z, fisher, batch_size=batch_size)
    best, least = (learned, found) if found < error else (plain, error)
    return [q.to(torch.int8) for q in best], least, error


def _learned(
    block: Block,
    weights: Sequence[Tensor],
    s: Sequence[Tensor],
    x: Tensor,
    z: Tensor,
    bounds: tuple[int, int],
    iterations: int,
    fisher: Tensor | None,
    batch_size: int,
    seed: int,
    unit: float,
) -> list[Tensor]:
    scaled = [w / step for w, step in zip(weights, s, strict=True)]
    floors = [one.floor() for one in scaled]
    shares = [(one - floor).clamp(0.01, 0.99) for one, floor in zip(scaled, floors, strict=True)]
    v = [(-torch.log((ZETA - GAMMA) / (share - GAMMA) - 1)).requires_grad_() for share in shares]
    optimizer = torch.optim.Adam(v, lr=RATE)
    order = torch.Generator().manual_seed(seed)
    for step in range(iterations):
        some = torch.randperm(len(x), generator=order)[:batch_size]
        ups = [_up(one) for one in v]
        values = [(f + u).clamp(*bounds) * one for f, u, one in zip(floors, ups, s, strict=True)]
        loss = unit * _error(block(values, x[some]), z[some], fisher) / len(some)
        done = (step / iterations - FREE) / (1 - FREE)
        if done > 0:
            beta = 2 + 18 * 0.5 * (1 + math.cos(done * math.pi))
            loss = loss + STRENGTH * sum(((1 - (2 * u - 1).abs().pow(beta)).sum() for u in ups), torch.zeros(()))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return [(f + (_up(one.detach()) >= 0.5)).clamp(*bounds) for f, one in zip(floors, v, strict=True)]


@torch.no_grad()
def block_error(
    block: Block, values: Sequence[Tensor], x: Tensor, z: Tensor, fisher: Tensor | None = None, *, batch_size: int = 32
) -> float:
    """E[Σ_i f_i (z_i − ẑ_i)²] over the samples.

    Args:
        block: As for `brecq`.
        values: Ŵ.
        x: x̂.
        z: Outputs of the float block.
        fisher: f; None for 1.
        batch_size: Samples at a time.
    """
    total = 0.0
    for start in range(0, len(x), batch_size):
        part = slice(start, start + batch_size)
        total += float(_error(block(values, x[part]), z[part], fisher).double())
    return total / len(x)


def _error(found: Tensor, z: Tensor, fisher: Tensor | None) -> Tensor:
    squares = (found - z).square()
    return squares.sum() if fisher is None else (fisher * squares).sum()


def _up(v: Tensor) -> Tensor:
    """h(V)."""
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
