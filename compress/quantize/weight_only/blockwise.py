"""Weights with one scale and zero point per block of inputs, in the packed form of ONNX Runtime's `MatMulNBits`.

W[k, d] ≈ s[k, g] (q[k, d] − z[k, g]),   q in [0, 2^b − 1],   g = ⌊d / block⌋
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SHRINKS = np.linspace(1.0, 0.7, 13)
"""Fractions of a block's range that the search for the least squared error tries."""
PART = 2**21
"""Weights that are rounded at a time, so that a large output layer needs no more memory than other layers."""


@dataclass(frozen=True, eq=False)
class BlockwiseWeight:
    """A matrix in blocks.

    Attributes:
        q: Integers, (K, G, block), uint8; padded with the zero point.
        s: Scales, (K, G), float32.
        z: Zero points, (K, G), uint8.
        bits: b.
        inputs: D, without padding.
    """

    q: np.ndarray
    s: np.ndarray
    z: np.ndarray
    bits: int
    inputs: int

    def dequantize(self) -> np.ndarray:
        """The weight, (K, D), float32."""
        values = (self.q.astype(np.float32) - self.z[..., None]) * self.s[..., None]
        weight: np.ndarray = values.reshape(len(values), -1)[:, : self.inputs]
        return weight

    def packed(self) -> tuple[np.ndarray, np.ndarray]:
        """Integers (K, G, block · b / 8) and zero points (K, ⌈G b / 8⌉), uint8; the first of two 4-bit numbers is lower."""
        return _pack(self.q, self.bits), _pack(self.z, self.bits)


def quantize_blocks(w: np.ndarray, bits: int, block: int, *, symmetric: bool = False, search: bool = True) -> BlockwiseWeight:
    """Round a matrix to the nearest integers of each block.

    Args:
        w: W, (K, D).
        bits: b, 4 or 8.
        block: Inputs that share a scale.
        symmetric: The zero point is 2^(b−1); otherwise it is the integer nearest to −min / s.
        search: Also try narrower ranges, which saturate some weights, and take the one with the least squared error.
    """
    return join([_quantize_rows(w[rows], bits, block, symmetric=symmetric, search=search) for rows in parts_of(w)])


def parts_of(w: np.ndarray) -> Iterator[slice]:
    """Ranges of the rows of a matrix (K, D) with at most `PART` weights each, or of one row."""
    rows = max(PART // max(w.shape[1], 1), 1)
    return (slice(start, start + rows) for start in range(0, max(len(w), 1), rows))


def join(parts: Sequence[BlockwiseWeight]) -> BlockwiseWeight:
    """The matrix whose rows are those of all parts."""
    if len(parts) == 1:
        return parts[0]
    q, s, z = (np.concatenate([getattr(part, name) for part in parts]) for name in ("q", "s", "z"))
    return BlockwiseWeight(q, s, z, bits=parts[0].bits, inputs=parts[0].inputs)


def _quantize_rows(w: np.ndarray, bits: int, block: int, *, symmetric: bool, search: bool) -> BlockwiseWeight:
    """`quantize_blocks` of all rows at once."""
    outputs, inputs = w.shape
    padded = np.zeros((outputs, -(-inputs // block) * block), np.float32)
    padded[:, :inputs] = w
    blocks = padded.reshape(outputs, -1, block)
    low, high = np.minimum(blocks.min(2), 0.0), np.maximum(blocks.max(2), 0.0)
    best = _round(blocks, low, high, bits, symmetric=symmetric)
    least = _squared_error(blocks, best)
    for shrink in SHRINKS[1:] if search else ():
        candidate = _round(blocks, shrink * low, shrink * high, bits, symmetric=symmetric)
        error = _squared_error(blocks, candidate)
        best = choose_parts(error < least, candidate, best)
        least = np.minimum(error, least)
    return BlockwiseWeight(*best, bits=bits, inputs=inputs)


Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""q, s and z."""


def choose_parts(better: np.ndarray, candidate: Parts, others: Parts) -> Parts:
    """q, s and z of the candidate where it is better, else of the others.

    Args:
        better: By output and block, or of shape (K, 1) by output.
        candidate: q, s and z.
        others: Likewise.
    """
    q, s, z = zip(candidate, others, strict=True)
    return np.where(better[..., None], *q), np.where(better, *s), np.where(better, *z)


def _round(blocks: np.ndarray, low: np.ndarray, high: np.ndarray, bits: int, *, symmetric: bool) -> Parts:
    """q, s and z for a range of each block."""
    top = 2**bits - 1
    if symmetric:
        span, z = np.maximum(-low / 2 ** (bits - 1), high / (2 ** (bits - 1) - 1)), np.full(low.shape, 2.0 ** (bits - 1))
        s = np.where(span > 0, span, 1.0)
    else:
        s = np.where(high > low, (high - low) / top, 1.0)
        z = np.clip(np.rint(-low / s), 0, top)
    q = np.clip(np.rint(blocks / s[..., None]) + z[..., None], 0, top)
    return q.astype(np.uint8), s.astype(np.float32), z.astype(np.uint8)


def _squared_error(blocks: np.ndarray, parts: Parts) -> np.ndarray:
    q, s, z = parts
    error: np.ndarray = ((blocks - (q.astype(np.float32) - z[..., None]) * s[..., None]) ** 2).sum(2)
    return error


def _pack(values: np.ndarray, bits: int) -> np.ndarray:
    """Pack the last axis."""
    if bits == 8:
        return values
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), np.uint8)], axis=-1)
    packed: np.ndarray = values[..., 0::2] | (values[..., 1::2] << 4)
    return packed
