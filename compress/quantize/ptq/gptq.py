"""GPTQ: round the weights of a layer input by input; the remaining weights compensate the error so far.

Frantar et al. 2023, GPTQ, arXiv:2210.17323. With H = E[x̂ x̂ᵀ] + a I and H⁻¹ = Uᵀ U, U upper triangular, for i = 1 … D

    q_i = clip(round(W*_i / s)),    e = (W*_i − s q_i) / U_ii,    W*_j ← W*_j − e U_ij  for j > i          (algorithm 1)

a is 1 % of the mean of the diagonal of E[x̂ x̂ᵀ], which keeps U finite if inputs are linearly dependent. Errors of a block of
columns are applied to the columns after it in one product, with the same result.

W* is the weight to round. If earlier layers are quantized, the layer reads x̂ instead of x, and W* is not W but the weight that
best reproduces W x from x̂ (Li et al. 2025, GPTAQ, arXiv:2504.02692, in closed form), see `gptaq_target`:

    W* = argmin E‖W x − W* x̂‖² = W + W (C − E[x̂ x̂ᵀ]) H⁻¹,      C = E[x x̂ᵀ]

Symbols: W, W* (G, K, D) float32, W_i columns; s (G, K); H, C (G, D, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compress.quantize.ptq.adaround import output_error
from compress.quantize.ptq.quantized_weight import int_range, round_to_nearest

if TYPE_CHECKING:
    from compress.quantize.ptq.round_weights import LayerRounding

DAMPING = 0.01
BLOCK = 128
FRACTIONS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Fractions that `best_scale` tries of the scale that covers the largest weight."""


@dataclass(frozen=True, eq=False)
class DampedHessian:
    """E[x̂ x̂ᵀ] and the Cholesky factors of H = E[x̂ x̂ᵀ] + a I, each computed once.

    Attributes:
        hessian: E[x̂ x̂ᵀ], (G, D, D), float32.
    """

    hessian: np.ndarray

    @cached_property
    def lower(self) -> Tensor:
        """L of H = L Lᵀ, lower triangular, (G, D, D), float64."""
        h = torch.from_numpy(self.hessian).double()
        mean = h.diagonal(dim1=1, dim2=2).mean(1)
        h.diagonal(dim1=1, dim2=2).add_(torch.where(mean > 0, DAMPING * mean, 1.0)[:, None])
        factor: Tensor = torch.linalg.cholesky(h)
        return factor

    @cached_property
    def upper(self) -> Tensor:
        """U of H⁻¹ = Uᵀ U, upper triangular, (G, D, D), float32."""
        factor: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(self.lower), upper=True).float()
        return factor


def round_layer(layer: LayerRounding) -> np.ndarray:
    """Row `gptq` of the registry: `gptq` of a layer."""
    return gptq(layer.w, layer.s, layer.hessian, layer.bits, target=layer.target)


def gptq(w: np.ndarray, s: np.ndarray, hessian: DampedHessian, bits: int, *, target: np.ndarray | None = None) -> np.ndarray:
    """Integers q, (G, K, D), int8, whose output error does not exceed that of rounding to the nearest in any row.

    Args:
        w: W, (G, K, D).
        s: Scales, (G, K).
        hessian: H.
        bits: The number of levels is 2^bits.
        target: W*, (G, K, D); None for W.
    """
    target = w if target is None else target
    learned, nearest = _round_columns(target, s, hessian.upper, bits)[0], round_to_nearest(w, s, bits)
    error, error_nearest = (output_error(q, target, s, hessian.hessian) for q in (learned, nearest))
    best: np.ndarray = np.where((error <= error_nearest)[..., None], learned, nearest)
    return best


def best_scale(s: np.ndarray, hessian: DampedHessian, bits: int, *, target: np.ndarray, per_channel: bool) -> np.ndarray:
    """Scales, (G, K), with the least output error after GPTQ rounding, among fractions of s.

    Args:
        s: Scales that cover the largest weight, (G, K).
        hessian: H.
        bits: The number of levels is 2^bits.
        target: W*, (G, K, D).
        per_channel: One scale per output channel; otherwise all are equal.
    """
    fractions = np.asarray(FRACTIONS, np.float32)[:, None, None]
    candidates = (fractions * s).transpose(1, 0, 2).reshape(len(s), -1)  # G, fractions · K
    _, error = _round_columns(np.tile(target, (1, len(FRACTIONS), 1)), candidates, hessian.upper, bits)
    error = error.reshape(len(s), len(FRACTIONS), -1)
    best = error.argmin(1) if per_channel else error.sum((0, 2)).argmin()
    scales: np.ndarray = s * fractions[best, 0, 0]
    return scales


def _round_columns(target: np.ndarray, s: np.ndarray, u: Tensor, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1: q, (G, K, D), int8, and its error Σ_i e_i² = δ H δᵀ with δ = W* − s q, (G, K)."""
    low, high = int_range(bits)
    # input by input in memory, so that each iteration reads contiguous memory
    remaining = torch.from_numpy(target).transpose(1, 2).clone(memory_format=torch.contiguous_format)
    scale = torch.from_numpy(s)
    q = torch.empty(remaining.shape, dtype=torch.int8)
    error_sum = torch.zeros(scale.shape, dtype=torch.float64)
    for start in range(0, target.shape[2], BLOCK):
        stop = min(start + BLOCK, target.shape[2])
        errors = torch.empty((len(target), stop - start, target.shape[1]))
        for i in range(start, stop):
            levels = (remaining[:, i] / scale).round_().clamp_(low, high)
            q[:, i] = levels
            error = (remaining[:, i] - scale * levels) / u[:, i, i, None]
            errors[:, i - start] = error
            remaining[:, i + 1 : stop].addcmul_(u[:, i, i + 1 : stop, None], error[:, None], value=-1)
        remaining[:, stop:].baddbmm_(u[:, start:stop, stop:].transpose(1, 2), errors, alpha=-1)
        error_sum += errors.square_().sum(1)
    return q.transpose(1, 2).contiguous().numpy(), error_sum.numpy()


def gptaq_target(w: np.ndarray, hessian: DampedHessian, cross_moment: np.ndarray) -> np.ndarray:
    """W*, (G, K, D), float32.

    Args:
        w: W, (G, K, D).
        hessian: H.
        cross_moment: C, (G, D, D).
    """
    difference = torch.from_numpy(cross_moment - hessian.hessian).double().transpose(1, 2)
    right_side = difference @ torch.from_numpy(w).double().transpose(1, 2)
    target: np.ndarray = w + torch.cholesky_solve(right_side, hessian.lower).transpose(1, 2).float().numpy()
    return target
