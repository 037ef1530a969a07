"""Top-k rows of large vocabularies in about 2 bytes per class: exact classes, and their probabilities as a curve over the rank.

    classes     k numbers of b = ⌈log₂ K⌉ bits, the most probable first
    log p_1     float16, exact
    log p_r     r = 2 … k: six coefficients, float16, of a least-squares fit by 1, x, x², x³, x⁴ and √x, x = (r − 2) / (k − 2)
    log p_rest  float16, the probability of all other classes together

With k = 50 and K = 30,522 a row has 110 bytes. The curve is scaled so that the probabilities sum to 1. The form is that of
Arcee's DistillKit, except for the rest: its classes have shares in proportion to the mean probability of each class over all
rows, which is stored once. Equal shares are far from those of a language model: rare words are rare in every place.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COEFFICIENTS = 6
FEWEST_CLASSES = 8
"""Smallest k with a curve."""
LOWEST = -80.0
"""Log-probabilities are at least this."""


class Basis(NamedTuple):
    """Fit of k − 1 values: coefficients = fit · values, values = curve · coefficients.

    Attributes:
        fit: (6, k − 1).
        curve: (k − 1, 6).
    """

    fit: NDArray[np.float64]
    curve: NDArray[np.float64]


def bits_of(classes: int) -> int:
    """b, the number of bits of a class."""
    return max(1, (classes - 1).bit_length())


def row_bytes(k: int, classes: int) -> int:
    """Bytes of a row."""
    return -(-k * bits_of(classes) // 8) + 2 * (2 + COEFFICIENTS)


@cache
def basis(k: int) -> Basis:
    """The basis for k classes; ranks count by 1/√r, so that probable classes are fitted better."""
    x = np.linspace(0.0, 1.0, k - 1)
    terms = np.stack([np.ones_like(x), x, x**2, x**3, x**4, np.sqrt(x)], axis=1)
    weights = 1 / np.sqrt(np.arange(2, k + 1))[:, None]
    q, r = np.linalg.qr(weights * terms)  # orthonormal: the coefficients are of one size, as float16 needs
    return Basis((q * weights).T, terms @ np.linalg.inv(r))


def encode_compact(log_p: NDArray[np.float64], k: int) -> NDArray[np.uint8]:
    """Rows of bytes, (n, row_bytes).

    Args:
        log_p: Log-probabilities of all classes, (n, K), K > k.
        k: Number of classes to keep, at least `FEWEST_CLASSES`.
    """
    count, classes = log_p.shape
    top = np.argpartition(-log_p, k - 1, axis=1)[:, :k]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(log_p, top, axis=1), axis=1, kind="stable"), axis=1)
    sorted_log_p = np.maximum(np.take_along_axis(log_p, top, axis=1), LOWEST)
    others = log_p.copy()
    np.put_along_axis(others, top, -np.inf, axis=1)
    rest = np.maximum(np.logaddexp.reduce(others, axis=1), LOWEST)
    numbers = np.empty((count, 2 + COEFFICIENTS), dtype="<f2")
    numbers[:, 0], numbers[:, 1] = sorted_log_p[:, 0], rest
    numbers[:, 2:] = sorted_log_p[:, 1:] @ basis(k).fit.T
    shifts = np.arange(bits_of(classes) - 1, -1, -1)
    bits = ((top[:, :, None] >> shifts) & 1).astype(np.uint8).reshape(count, -1)
    return np.concatenate([np.packbits(bits, axis=1), numbers.view(np.uint8)], axis=1)


def log_mean_of(total: NDArray[np.float64]) -> NDArray[np.float16]:
    """Log π, (K,), of the sum of the probabilities of each class over all rows, (K,)."""
    mean = total / total.sum()
    return np.asarray(np.log(np.maximum(mean, np.exp(LOWEST))), dtype=np.float16)


def normalised(log_mean: NDArray[np.float16]) -> NDArray[np.float64]:
    """Log π as stored, with Σ π = 1."""
    values = log_mean.astype(np.float64)
    return np.asarray(values - np.logaddexp.reduce(values))


def decode_compact(rows: NDArray[np.uint8], k: int, log_mean: NDArray[np.float64]) -> NDArray[np.float32]:
    """Log-probabilities of all classes, (n, K).

        log p_c = log p_rest + log π_c − log(1 − Σ_top π)   for c not in the top k

    Args:
        rows: Rows of `encode_compact`, (n, row_bytes).
        k: As there.
        log_mean: log π, logarithm of the mean probability of each class, (K,).
    """
    classes = len(log_mean)
    width = bits_of(classes)
    packed = -(-k * width // 8)
    bits = np.unpackbits(np.ascontiguousarray(rows[:, :packed]), axis=1, count=k * width)
    top = bits.reshape(len(rows), k, width) @ (1 << np.arange(width - 1, -1, -1))
    numbers = np.ascontiguousarray(rows[:, packed:]).view("<f2").astype(np.float64)
    first, rest = numbers[:, :1], numbers[:, 1:2]
    curve = numbers[:, 2:] @ basis(k).curve.T
    mass = np.maximum(1 - np.exp(first) - np.exp(rest), np.exp(LOWEST))
    curve += np.log(mass) - np.logaddexp.reduce(curve, axis=1)[:, None]
    others = np.maximum(1 - np.exp(log_mean)[top].sum(axis=1, keepdims=True), np.exp(LOWEST))
    log_p = rest + log_mean - np.log(others)
    np.put_along_axis(log_p, top, np.concatenate([first, curve], axis=1), axis=1)
    return np.asarray(log_p, dtype=np.float32)
