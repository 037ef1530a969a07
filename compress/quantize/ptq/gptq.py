"""GPTQ: columns of a layer are rounded one after the other, and those left make up for the error so far.

Frantar et al. 2023, GPTQ, arXiv:2210.17323. With H = E[x̂ x̂ᵀ] + a I and U the upper Cholesky factor of H⁻¹ = Uᵀ U, for i = 1 … D

    q_i = clip(round(W*_i / s)),    e = (W*_i − s q_i) / U_ii,    W*_j ← W*_j − e U_ij  for j > i          (algorithm 1)

a is 1 % of the mean of H's diagonal, which keeps the factor finite where inputs are dependent. Columns beyond a block take all
of the block's errors in one product, which gives the same numbers.

W* is what to round. Where layers before are rounded, so that this one reads x̂ in place of x, it is not W but the weights that
do best with x̂ (Li et al. 2025, GPTAQ, arXiv:2504.02692, in closed form), which `gptaq_target` gives:

    W* = argmin E‖W x − W* x̂‖² = W + W (C − E[x̂ x̂ᵀ]) H⁻¹,      C = E[x x̂ᵀ]

Symbols: W, W* (G, K, D) float32, W_i columns; s (G, K); H, C (G, D, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from compress.quantize.ptq.adaround import output_error
from compress.quantize.ptq.quantized_weight import int_range, round_to_nearest

DAMPING = 0.01
BLOCK = 128
PARTS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Of the step that holds the largest weight, for `best_scale`."""


@dataclass(frozen=True, eq=False)
class DampedHessian:
    """H with all that is computed from it, once.

    Attributes:
        hessian: H, without a.
    """

    hessian: np.ndarray

    @cached_property
    def lower(self) -> Tensor:
        """L of H + a I = L Lᵀ, lower triangular, (G, D, D), float64."""
        h = torch.from_numpy(self.hessian).double()
        mean = h.diagonal(dim1=1, dim2=2).mean(1)
        h.diagonal(dim1=1, dim2=2).add_(torch.where(mean > 0, DAMPING * mean, 1.0)[:, None])
        found: Tensor = torch.linalg.cholesky(h)
        return found

    @cached_property
    def upper(self) -> Tensor:
        """U of H⁻¹ = Uᵀ U, upper triangular, (G, D, D), float32."""
        found: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(self.lower), upper=True).float()
        return found


def gptq(w: np.ndarray, s: np.ndarray, curvature: DampedHessian, bits: int, *, target: np.ndarray | None = None) -> np.ndarray:
    """Integers q, (G, K, D), int8, whose output error is nowhere above that of rounding to the nearest.

    Args:
        w: W.
        s: Steps.
        curvature: H.
        bits: Levels are 2^bits.
        target: W*; None for W.
    """
    aim = w if target is None else target
    learned, plain = _columns(aim, s, curvature.upper, bits)[0], round_to_nearest(w, s, bits)
    better = output_error(learned, aim, s, curvature.hessian) <= output_error(plain, aim, s, curvature.hessian)
    found: np.ndarray = np.where(better[..., None], learned, plain)
    return found


def best_scale(s: np.ndarray, curvature: DampedHessian, bits: int, *, target: np.ndarray, per_channel: bool) -> np.ndarray:
    """Steps, (G, K), among parts of s, whose output error is least once GPTQ has rounded with them.

    Args:
        s: Steps that hold the largest weight.
        curvature: H.
        bits: Levels are 2^bits.
        target: W*.
        per_channel: One for each output channel; else all are equal.
    """
    parts = np.asarray(PARTS, np.float32)[:, None, None]
    tried = (parts * s).transpose(1, 0, 2).reshape(len(s), -1)  # G, parts · K
    _, error = _columns(np.tile(target, (1, len(PARTS), 1)), tried, curvature.upper, bits)
    error = error.reshape(len(s), len(PARTS), -1)
    best = error.argmin(1) if per_channel else error.sum((0, 2)).argmin()
    found: np.ndarray = s * parts[best, 0, 0]
    return found


def _columns(aim: np.ndarray, s: np.ndarray, u: Tensor, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1: q, (G, K, D), int8, and what it costs, Σ_i e_i² = δ (H + a I) δᵀ with δ = W* − s q, (G, K).

    Weights are held input by input, so that what one step touches lies together.
    """
    low, high = int_range(bits)
    left = torch.from_numpy(aim).transpose(1, 2).clone(memory_format=torch.contiguous_format)
    step = torch.from_numpy(s)
    q = torch.empty(left.shape, dtype=torch.int8)
    cost = torch.zeros(step.shape, dtype=torch.float64)
    for start in range(0, aim.shape[2], BLOCK):
        stop = min(start + BLOCK, aim.shape[2])
        errors = torch.empty((len(aim), stop - start, aim.shape[1]))
        for i in range(start, stop):
            levels = (left[:, i] / step).round_().clamp_(low, high)
            q[:, i] = levels
            error = (left[:, i] - step * levels) / u[:, i, i, None]
            errors[:, i - start] = error
            left[:, i + 1 : stop].addcmul_(u[:, i, i + 1 : stop, None], error[:, None], value=-1)
        left[:, stop:].baddbmm_(u[:, start:stop, stop:].transpose(1, 2), errors, alpha=-1)
        cost += errors.square_().sum(1)
    return q.transpose(1, 2).contiguous().numpy(), cost.numpy()


def gptaq_target(w: np.ndarray, curvature: DampedHessian, cross: np.ndarray) -> np.ndarray:
    """W*, (G, K, D), float32.

    Args:
        w: W.
        curvature: H.
        cross: C.
    """
    pull = torch.from_numpy(cross - curvature.hessian).double().transpose(1, 2) @ torch.from_numpy(w).double().transpose(1, 2)
    found: np.ndarray = w + torch.cholesky_solve(pull, curvature.lower).transpose(1, 2).float().numpy()
    return found
