"""GPTQ: columns of a linear layer are rounded one after the other, and those left make up for the error so far.

Frantar et al. 2023, GPTQ, arXiv:2210.17323. With H = E[x xᵀ] + a I and U the upper Cholesky factor of H⁻¹ = Uᵀ U, for i = 1 … D

    q_i = clip(round(W_i / s)),    e = (W_i − s q_i) / U_ii,    W_j ← W_j − e U_ij  for j > i          (algorithm 1)

a is 1 % of the mean of H's diagonal, which keeps the factor finite where inputs are dependent.

Symbols: W (G, K, D) float32, W_i its columns; s (G, K); H (G, D, D).
"""

from __future__ import annotations

import numpy as np

from compress.quantize.adaround import output_error
from compress.quantize.grid import limits, nearest

DAMPING = 0.01


def gptq(w: np.ndarray, s: np.ndarray, second: np.ndarray, bits: int) -> np.ndarray:
    """Integers q, (G, K, D), int8, whose output error is nowhere above that of rounding to the nearest.

    Args:
        w: W.
        s: Steps.
        second: H.
        bits: Levels are 2^bits.
    """
    low, high = limits(bits)
    q = np.empty(w.shape, np.int8)
    for group in range(len(w)):
        u = _factor(second[group])
        left, step = w[group].astype(np.float64), s[group].astype(np.float64)
        for i in range(w.shape[2]):
            q[group, :, i] = np.clip(np.rint(left[:, i] / step), low, high)
            error = (left[:, i] - step * q[group, :, i]) / u[i, i]
            left[:, i + 1 :] -= error[:, None] * u[i, i + 1 :]
    plain = nearest(w, s, bits)
    better = output_error(q, w, s, second) <= output_error(plain, w, s, second)
    found: np.ndarray = np.where(better[..., None], q, plain)
    return found


def _factor(second: np.ndarray) -> np.ndarray:
    """U of H⁻¹ = Uᵀ U, upper triangular, (D, D)."""
    h = second.astype(np.float64)
    h = h + np.eye(len(h)) * (DAMPING * float(np.diag(h).mean()) or 1.0)
    found: np.ndarray = np.linalg.cholesky(np.linalg.inv(h)).T
    return found
