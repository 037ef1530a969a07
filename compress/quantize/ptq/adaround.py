"""AdaRound: whether each weight is rounded up or down is learned from what the layer reads.

Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization, arXiv:2004.10568. With steps s fixed,

    W̃ = s q,   q = clip(⌊W / s⌋ + h(V)),      h(V) = clip(σ(V) (ζ − γ) + γ, 0, 1),   ζ = 1.1, γ = −0.1      (eq. 22, 23)

    min over V   E‖f(W x + b) − f(W̃ x̂ + b)‖² / (s² h̄) + λ Σ (1 − |2 h(V) − 1|^β)                           (eq. 25, 24)

x is what the layer reads in the float network and x̂ what it reads once all layers before it are rounded, so that it also
makes up for them; f is the activation function behind it. Dividing by s² and by h̄, the mean of x̂², counts errors in steps,
which sets the first term against λ whatever the layer. β falls from 20 to 2, so that every h ends at 0 or 1. Each step of Adam
sees a few of the vectors. A row whose error over all of them would be above that of rounding to the nearest is rounded to the
nearest.

Symbols: W (G, K, D) float32; s, b (G, K); x, x̂ (G, n, D); V (G, K, D).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from compress.quantize.ptq.following_activation import ActivationFunction
from compress.quantize.ptq.quantized_weight import int_range, round_to_nearest

ZETA, GAMMA = 1.1, -0.1
STRENGTH = 0.3
"""λ, beside a first term of about D / 12 a row for weights rounded to the nearest."""
FREE = 0.2
"""Part of the steps before λ counts."""
RATE = 3e-2
SEEN = 256
"""Vectors in one step."""


def adaround(
    w: np.ndarray,
    s: np.ndarray,
    x: np.ndarray,
    found: np.ndarray,
    bits: int,
    *,
    iterations: int,
    b: np.ndarray | None = None,
    bend: ActivationFunction | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Integers q, (G, K, D), int8, whose output error is nowhere above that of rounding to the nearest.

    Args:
        w: W.
        s: Steps.
        x: Inputs in the float network.
        found: x̂.
        bits: Levels are 2^bits.
        iterations: Steps of Adam.
        b: Bias; None for none. It matters to f only.
        bend: f; None for the identity.
        seed: Of the order in which vectors are seen.
    """
    low, high = int_range(bits)
    step = torch.from_numpy(s)[..., None]
    offset = torch.zeros(s.shape) if b is None else torch.from_numpy(b.astype(np.float32))
    wanted = _outputs(torch.from_numpy(x), torch.from_numpy(w), offset, bend)
    read = torch.from_numpy(found)
    order = torch.randperm(read.shape[1], generator=torch.Generator().manual_seed(seed))
    read, wanted, count = read[:, order], wanted[:, order], min(SEEN, read.shape[1])
    weight = 2 / (step[..., 0] ** 2 * read.square().mean((1, 2)).clamp_min(1e-12)[:, None])[:, None]
    scaled = torch.from_numpy(w) / step
    floor = scaled.floor()
    share = (scaled - floor).clamp(0.01, 0.99)
    v = -torch.log((ZETA - GAMMA) / (share - GAMMA) - 1)
    optimizer = torch.optim.Adam([v], lr=RATE, fused=True)
    for turn in range(iterations):
        start = turn * count % (read.shape[1] - count + 1)
        batch, target = read[:, start : start + count], wanted[:, start : start + count]
        sigma = torch.sigmoid(v)
        free = sigma * (ZETA - GAMMA) + GAMMA
        up = free.clamp(0, 1)
        q = floor + up
        pull = _pull(batch, q.clamp(low, high) * step, offset, bend, target, weight / count)
        slope = (pull.transpose(1, 2) @ batch) * step * ((q >= low) & (q <= high))
        done = (turn / iterations - FREE) / (1 - FREE)
        if done > 0:
            beta = 2 + 18 * 0.5 * (1 + math.cos(done * math.pi))
            side = 2 * up - 1
            slope -= 2 * STRENGTH * beta * side.abs().pow_(beta - 1).mul_(side.sign())
        v.grad = slope.mul_(sigma * (1 - sigma)).mul_((free == up) * (ZETA - GAMMA))
        optimizer.step()
    learned = (floor + (v >= 0)).clamp(low, high).to(torch.int8).numpy()
    plain = round_to_nearest(w, s, bits)
    after, before = (_error(q, step, read, offset, bend, wanted) for q in (learned, plain))
    better: np.ndarray = (after <= before).numpy()
    return np.where(better[..., None], learned, plain)


def output_error(q: np.ndarray, w: np.ndarray, s: np.ndarray, second: np.ndarray) -> np.ndarray:
    """E[((s q − W) x)²] of each output channel, (G, K), float64; `second` is H = E[x xᵀ], (G, D, D)."""
    delta = q.astype(np.float64) * s[..., None] - w
    found: np.ndarray = ((delta @ second.astype(np.float64)) * delta).sum(-1)
    return found


def _outputs(x: Tensor, w: Tensor, offset: Tensor, bend: ActivationFunction | None) -> Tensor:
    """f(W x + b), (G, n, K)."""
    y = torch.baddbmm(offset[:, None], x, w.transpose(1, 2))
    return y if bend is None else bend(y)


def _pull(x: Tensor, w: Tensor, offset: Tensor, bend: ActivationFunction | None, wanted: Tensor, weight: Tensor) -> Tensor:
    """Gradient of Σ weight (f(W̃ x̂ + b) − wanted)² / 2 by the product, (G, n, K)."""
    y = _outputs(x, w, offset, None)
    if bend is None:
        return (y - wanted) * weight
    bent = bend(y.requires_grad_())
    (found,) = torch.autograd.grad(bent, y, (bent.detach() - wanted) * weight)
    return found


def _error(
    q: np.ndarray, step: Tensor, read: Tensor, offset: Tensor, bend: ActivationFunction | None, wanted: Tensor
) -> Tensor:
    """Squared error of each output channel, (G, K)."""
    return (_outputs(read, torch.from_numpy(q).float() * step, offset, bend) - wanted).square().mean(1)
