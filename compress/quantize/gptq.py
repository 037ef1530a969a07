"""GPTQ: columns of a layer are rounded one after the other, and those left make up for the error so far.

Frantar et al. 2023, GPTQ, arXiv:2210.17323. With H = E[x̂ x̂ᵀ] + a I and U the upper Cholesky factor of H⁻¹ = Uᵀ U, for i = 1 … D

    q_i = clip(round(W*_i / s)),    e = (W*_i − s q_i) / U_ii,    W*_j ← W*_j − e U_ij  for j > i          (algorithm 1)

a is 1 % of the mean of H's diagonal, which keeps the factor finite where inputs are dependent. Columns beyond a block take all
of the block's errors in one product, which gives the same numbers.

W* is what to round. Where layers before are rounded, so that this one reads x̂ in place of x, it is not W but the weights that
do best with x̂ (Li et al. 2025, GPTAQ, arXiv:2504.02692, in closed form), which `towards` gives:

    W* = argmin E‖W x − W* x̂‖² = W + W (C − E[x̂ x̂ᵀ]) H⁻¹,      C = E[x x̂ᵀ]

Symbols: W, W* (G, K, D) float32, W_i columns; s (G, K); H, C (G, D, D).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compress.quantize.adaround import output_error
from compress.quantize.grid import limits, nearest

DAMPING = 0.01
BLOCK = 128
PARTS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Of the step that holds the largest weight, for `least`."""


def gptq(w: np.ndarray, s: np.ndarray, second: np.ndarray, bits: int, *, target: np.ndarray | None = None) -> np.ndarray:
    """Integers q, (G, K, D), int8, whose output error is nowhere above that of rounding to the nearest.

    Args:
        w: W.
        s: Steps.
        second: H, without a.
        bits: Levels are 2^bits.
        target: W*; None for W.
    """
    aim = w if target is None else target
    learned, plain = _columns(aim, s, _factor(second), bits), nearest(w, s, bits)
    better = output_error(learned, aim, s, second) <= output_error(plain, aim, s, second)
    found: np.ndarray = np.where(better[..., None], learned, plain)
    return found


def least(s: np.ndarray, second: np.ndarray, bits: int, *, target: np.ndarray, per_channel: bool) -> np.ndarray:
    """Steps, (G, K), among parts of s, whose output error is least once GPTQ has rounded with them.

    Args:
        s: Steps that hold the largest weight.
        second: H, without a.
        bits: Levels are 2^bits.
        target: W*.
        per_channel: One for each output channel; else all are equal.
    """
    parts = np.asarray(PARTS, np.float32)[:, None, None]
    tried = (parts * s).transpose(1, 0, 2).reshape(len(s), -1)  # G, parts · K
    aim = np.tile(target, (1, len(PARTS), 1))
    error = output_error(_columns(aim, tried, _factor(second), bits), aim, tried, second).reshape(len(s), len(PARTS), -1)
    best = error.argmin(1) if per_channel else error.sum((0, 2)).argmin()
    found: np.ndarray = s * parts[best, 0, 0]
    return found


def _columns(aim: np.ndarray, s: np.ndarray, u: Tensor, bits: int) -> np.ndarray:
    """Algorithm 1; q, (G, K, D), int8."""
    low, high = limits(bits)
    left, step, u = torch.from_numpy(aim.copy()), torch.from_numpy(s), u.float()
    q = torch.empty_like(left)
    for start in range(0, aim.shape[2], BLOCK):
        stop = min(start + BLOCK, aim.shape[2])
        errors = torch.empty((*aim.shape[:2], stop - start))
        for i in range(start, stop):
            column = left[..., i]
            q[..., i] = (column / step).round().clamp(low, high)
            error = (column - step * q[..., i]) / u[:, i, i, None]
            errors[..., i - start] = error
            left[..., i + 1 : stop] -= error[..., None] * u[:, i, None, i + 1 : stop]
        left[..., stop:] -= errors @ u[:, start:stop, stop:]
    found: np.ndarray = q.to(torch.int8).numpy()
    return found


def towards(w: np.ndarray, second: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """W*, (G, K, D), float32.

    Args:
        w: W.
        second: H, without a.
        cross: C.
    """
    h = _damped(second)
    moved = torch.linalg.solve(
        h, torch.from_numpy(cross - second).double().transpose(1, 2) @ torch.from_numpy(w).double().transpose(1, 2)
    )
    found: np.ndarray = w + moved.transpose(1, 2).float().numpy()
    return found


def _damped(second: np.ndarray) -> Tensor:
    h = torch.from_numpy(second).double()
    mean = h.diagonal(dim1=1, dim2=2).mean(1)
    return h + torch.diag_embed(torch.where(mean > 0, DAMPING * mean, 1.0)[:, None].expand(-1, h.shape[1]))


def _factor(second: np.ndarray) -> Tensor:
    """U of H⁻¹ = Uᵀ U, upper triangular, (G, D, D)."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(_damped(second)))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor
