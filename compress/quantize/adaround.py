"""AdaRound: whether each weight is rounded up or down is learned from what the layer reads.

Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization, arXiv:2004.10568. With steps s fixed,

    q = clip(⌊W / s⌋ + h(V)),      h(V) = clip(σ(V) (ζ − γ) + γ, 0, 1),   ζ = 1.1, γ = −0.1        (eq. 22, 23)

    min over V   Σ_k δ_k H δ_kᵀ / h̄ + λ Σ (1 − |2 h(V) − 1|^β),       δ = q − W / s                  (eq. 21, 24)

The first term is the layer's squared output error on the calibration samples in units of s, E[(δ_k x)²], written with the
second moment H = E[x xᵀ] of its input (eq. 13) instead of the samples; h̄ is the mean of H's diagonal. β falls from 20 to 2, so
that every h ends at 0 or 1. A row whose error would be above that of rounding to the nearest is rounded to the nearest.

Symbols: W (G, K, D) float32; s (G, K); H (G, D, D); V (G, K, D).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compress.quantize.grid import limits, nearest

ZETA, GAMMA = 1.1, -0.1
STRENGTH = 0.3
"""λ, beside a first term of about D / 12 a row for weights rounded to the nearest."""
FREE = 0.2
"""Part of the steps before λ counts."""
RATE = 3e-2


def adaround(w: np.ndarray, s: np.ndarray, second: np.ndarray, bits: int, *, iterations: int) -> np.ndarray:
    """Integers q, (G, K, D), int8, whose output error is nowhere above that of rounding to the nearest.

    Args:
        w: W.
        s: Steps.
        second: H.
        bits: Levels are 2^bits.
        iterations: Steps of Adam.
    """
    low, high = limits(bits)
    scaled = torch.from_numpy(w / s[..., None])
    floor = scaled.floor()
    h = torch.from_numpy(second)
    h = h / h.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-12)
    share = (scaled - floor).clamp(0.01, 0.99)
    v = (-torch.log((ZETA - GAMMA) / (share - GAMMA) - 1)).requires_grad_()
    optimizer = torch.optim.Adam([v], lr=RATE)
    for step in range(iterations):
        optimizer.zero_grad(set_to_none=True)
        up = _up(v)
        delta = (floor + up).clamp(low, high) - scaled
        loss = (delta @ h * delta).sum()
        done = (step / iterations - FREE) / (1 - FREE)
        if done > 0:
            beta = 2 + 18 * 0.5 * (1 + np.cos(done * np.pi))
            loss = loss + STRENGTH * (1 - (2 * up - 1).abs().pow(beta)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    learned = (floor + (_up(v.detach()) >= 0.5)).clamp(low, high).to(torch.int8).numpy()
    plain = nearest(w, s, bits)
    better = output_error(learned, w, s, second) <= output_error(plain, w, s, second)
    found: np.ndarray = np.where(better[..., None], learned, plain)
    return found


def output_error(q: np.ndarray, w: np.ndarray, s: np.ndarray, second: np.ndarray) -> np.ndarray:
    """E[((s q − W) x)²] of each output channel, (G, K), float64."""
    delta = q.astype(np.float64) * s[..., None] - w
    found: np.ndarray = ((delta @ second.astype(np.float64)) * delta).sum(-1)
    return found


def _up(v: Tensor) -> Tensor:
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
