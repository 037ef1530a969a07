"""Integer weights: W ≈ s q, q in [−2^(b−1), 2^(b−1) − 1], with one scale s per output channel or per tensor.

Symbols: W (G, K, D) float32, see `weighted_layers`; b bits; s (G, K) > 0; q (G, K, D) int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.quantize.ptq.weighted_layers import WeightedLayer

SEARCHED_FRACTIONS = np.linspace(0.3, 1.0, 71)
"""Fractions of the largest magnitude that are tried in the search for the least squared error."""
SUFFIX = "_quantized"
"""Suffix that ONNX Runtime's quantizer adds to the name of a weight for its integers."""


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """One weight as integers.

    Attributes:
        q: Integers, (G, K, D), int8.
        s: Scales, (G, K), float32; all equal without `per_channel`.
        per_channel: One scale per output channel.
    """

    q: np.ndarray
    s: np.ndarray
    per_channel: bool

    def dequantize(self) -> np.ndarray:
        """The dequantized weight s q, (G, K, D), float32."""
        values: np.ndarray = self.q.astype(np.float32) * self.s[..., None]
        return values


def int_range(bits: int) -> tuple[int, int]:
    """Smallest and largest integer: ±(2^(b−1) − 1) for 7 and 8 bits; for fewer bits the smallest is −2^(b−1)."""
    top = 2 ** (bits - 1) - 1
    return (-top if bits >= 7 else -top - 1), top


def weight_scales(w: np.ndarray, bits: int, *, per_channel: bool, search: bool) -> np.ndarray:
    """Scales s, (G, K), that cover the largest magnitude, or have the least squared error Σ (W − s q)².

    Args:
        w: W, (G, K, D).
        bits: b.
        per_channel: One scale per output channel; otherwise all are equal.
        search: Also try smaller scales, which saturate some weights, and return the scale with the least squared error (Nagel
            et al. 2021, arXiv:2106.08295, eq. 24).
    """
    rows = w.reshape(-1, w.shape[-1]) if per_channel else w.reshape(1, -1)
    top = int_range(bits)[1]
    largest = np.abs(rows).max(1)
    full = np.where(largest > 0, largest, 1.0) / top
    best, least = full.copy(), np.full(len(rows), np.inf)
    for fraction in SEARCHED_FRACTIONS if search else (1.0,):
        s = full * fraction
        error = ((rows - round_to_nearest(rows, s, bits) * s[:, None]) ** 2).sum(1)
        better = error < least
        best[better], least[better] = s[better], error[better]
    scales: np.ndarray = np.broadcast_to(best if per_channel else best[0], w.shape[0] * w.shape[1]).astype(np.float32)
    return scales.reshape(w.shape[:2]).copy()


def round_to_nearest(w: np.ndarray, s: np.ndarray, bits: int) -> np.ndarray:
    """Round to the nearest, q = clip(round(W / s)), int8; W has any shape, s that shape without the last axis."""
    low, high = int_range(bits)
    q: np.ndarray = np.clip(np.rint(w / s[..., None]), low, high).astype(np.int8)
    return q


def write_back(model: ir.Model, weights: Mapping[str, QuantizedWeight], layers: Mapping[str, WeightedLayer]) -> None:
    """Replace the integers and scales of ONNX Runtime's quantizer by those of `weights`, in place.

    Args:
        model: Q/DQ graph of the quantizer.
        weights: Integer weights by weight initializer of the float network.
        layers: Layer by weight initializer.
    """
    for node in [node for node in model.graph if node.op_type == "DequantizeLinear"]:
        integers, scale = node.inputs[:2]
        if integers is None or scale is None or not integers.is_initializer():
            continue
        name = str(integers.name).removesuffix(SUFFIX)
        if name == integers.name or name not in weights:
            continue
        weight = weights[name]
        s = weight.s.reshape(-1) if weight.per_channel else weight.s.reshape(-1)[0]
        graphs.set_constant(integers, layers[name].from_matrix(weight.q, np.asarray(graphs.constant(integers))).astype(np.int8))
        graphs.set_constant(scale, np.asarray(s, np.float32).reshape(np.asarray(graphs.constant(scale)).shape))
