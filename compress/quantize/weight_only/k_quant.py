"""Scale and zero point of each block by search and least squares, weighted by the magnitude of the weights.

    min over s, m, q of Σ_d ω_d (w_d − s q_d − m)²,      ω_d = √(mean_d w_d²) + |w_d|

For several widths of the range the integers q are those nearest to the weights; s and m then follow by weighted least squares,
and z = −m / s is rounded to an integer. This is the search of llama.cpp's k-quants, `make_qkx2_quants`, which ONNX Runtime
has as `k_quant`. The best of all candidates is taken, rounding to the nearest among them.
"""

from __future__ import annotations

import numpy as np

from compress.quantize.weight_only.blockwise import BlockwiseWeight, Parts, choose_parts, quantize_blocks
from compress.quantize.weight_only.rounding_problem import BlockRounding

STEPS = 20
"""Widths of the range: 2^b − 2 to 2^b steps of a tenth."""


def round_k_quant(problem: BlockRounding) -> BlockwiseWeight:
    """Row `k_quant` of the registry."""
    return k_quant(problem.w, problem.bits, problem.block, symmetric=problem.symmetric)


def k_quant(w: np.ndarray, bits: int, block: int, *, symmetric: bool) -> BlockwiseWeight:
    """Round a matrix by the least weighted squared error of each block.

    Args:
        w: W, (K, D).
        bits: b.
        block: Inputs that share a scale.
        symmetric: The zero point is 2^(b−1).
    """
    start = quantize_blocks(w, bits, block, symmetric=symmetric)
    outputs, inputs = w.shape
    padded = np.zeros((outputs, start.q.shape[1] * block), np.float32)
    padded[:, :inputs] = w
    x = padded.reshape(start.q.shape)
    present = (np.arange(padded.shape[1]) < inputs).reshape(1, *start.q.shape[1:])
    omega = (np.sqrt((x**2).sum(2, keepdims=True) / present.sum(2, keepdims=True)) + np.abs(x)) * present
    best, least = (start.q, start.s, start.z), _weighted_error(x, omega, start.q, start.s, start.z)
    top = 2**bits - 1
    low, high = np.minimum(x.min(2), 0.0), np.maximum(x.max(2), 0.0)
    span = 2 * np.maximum(-low, high) if symmetric else high - low
    for step in range(STEPS):
        width = np.where(span > 0, span, 1.0) / (top - 1 + 0.1 * step)
        candidate = _fit_symmetric(x, omega, width, bits) if symmetric else _fit(x, omega, width, low, top)
        error = _weighted_error(x, omega, *candidate)
        best = choose_parts(error < least, candidate, best)
        least = np.minimum(error, least)
    return BlockwiseWeight(*best, bits=bits, inputs=inputs)


def _fit(x: np.ndarray, omega: np.ndarray, width: np.ndarray, low: np.ndarray, top: int) -> Parts:
    """Integers for steps of this width above the minimum, then s and z by weighted least squares, then q for these."""
    q = np.clip(np.rint((x - low[..., None]) / width[..., None]), 0, top)
    total, first, second = omega.sum(2), (omega * q).sum(2), (omega * q**2).sum(2)
    sum_x, sum_qx = (omega * x).sum(2), (omega * q * x).sum(2)
    determinant = total * second - first**2
    is_solvable = determinant > 1e-12 * np.maximum(total * second, 1e-30)
    safe = np.where(is_solvable, determinant, 1.0)
    s = np.where(is_solvable, (total * sum_qx - sum_x * first) / safe, width)
    minimum = np.where(is_solvable, (second * sum_x - first * sum_qx) / safe, low)
    s = np.where(s > 0, s, width)
    return _nearest(x, s, np.clip(np.rint(-minimum / s), 0, top), top)


def _fit_symmetric(x: np.ndarray, omega: np.ndarray, width: np.ndarray, bits: int) -> Parts:
    """The same with the zero point in the middle."""
    middle, top = 2 ** (bits - 1), 2**bits - 1
    q = np.clip(np.rint(x / width[..., None]), -middle, middle - 1)
    second = (omega * q**2).sum(2)
    s = np.where(second > 0, (omega * q * x).sum(2) / np.where(second > 0, second, 1.0), width)
    return _nearest(x, np.where(s > 0, s, width), np.full(s.shape, float(middle)), top)


def _nearest(x: np.ndarray, s: np.ndarray, z: np.ndarray, top: int) -> Parts:
    s = s.astype(np.float32)
    q = np.clip(np.rint(x / s[..., None]) + z[..., None], 0, top)
    return q.astype(np.uint8), s, z.astype(np.uint8)


def _weighted_error(x: np.ndarray, omega: np.ndarray, q: np.ndarray, s: np.ndarray, z: np.ndarray) -> np.ndarray:
    error: np.ndarray = (omega * (x - (q.astype(np.float32) - z[..., None]) * s[..., None]) ** 2).sum(2)
    return error
