"""Weights on an integer grid: W ≈ s q, q in [−2^(b−1), 2^(b−1) − 1], one step s for each output channel or for the tensor.

Symbols: W (G, K, D) float32, see `layers`; b bits; s (G, K) > 0; q (G, K, D) int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

from compress.quantize.ptq.weighted_layers import WeightedLayer

TRIED = np.linspace(0.3, 1.0, 71)
"""Parts of the largest magnitude that the search for the least squared error tries."""


SUFFIX = "_quantized"
"""What ONNX Runtime's quantizer adds to a weight's name for its integers."""


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """One weight as integers.

    Attributes:
        q: Integers, (G, K, D), int8.
        s: Steps, (G, K), float32; all equal where the tensor has one.
        per_channel: One step for each output channel.
    """

    q: np.ndarray
    s: np.ndarray
    per_channel: bool

    def dequantize(self) -> np.ndarray:
        """S q, (G, K, D), float32."""
        found: np.ndarray = self.q.astype(np.float32) * self.s[..., None]
        return found


def int_range(bits: int) -> tuple[int, int]:
    """Smallest and largest integer: ±(2^(b−1) − 1) for 7 and 8 bits, one more below zero for fewer, where each level counts."""
    top = 2 ** (bits - 1) - 1
    return (-top if bits >= 7 else -top - 1), top


def weight_scales(w: np.ndarray, bits: int, *, per_channel: bool, search: bool) -> np.ndarray:
    """Steps s, (G, K), that hold the largest magnitude, or those of least squared error Σ (W − s q)².

    Args:
        w: W, (G, K, D).
        bits: b.
        per_channel: One for each output channel.
        search: Try smaller steps, which saturate some weights, and keep the best; Nagel et al. 2021, arXiv:2106.08295, eq. 24.
    """
    rows = w.reshape(-1, w.shape[-1]) if per_channel else w.reshape(1, -1)
    top = int_range(bits)[1]
    largest = np.abs(rows).max(1)
    full = np.where(largest > 0, largest, 1.0) / top
    best, least = full.copy(), np.full(len(rows), np.inf)
    for part in TRIED if search else (1.0,):
        s = full * part
        error = ((rows - round_to_nearest(rows, s, bits) * s[:, None]) ** 2).sum(1)
        better = error < least
        best[better], least[better] = s[better], error[better]
    found: np.ndarray = np.broadcast_to(best if per_channel else best[0], w.shape[0] * w.shape[1]).astype(np.float32)
    return found.reshape(w.shape[:2]).copy()


def round_to_nearest(w: np.ndarray, s: np.ndarray, bits: int) -> np.ndarray:
    """Q = clip(round(W / s)), the baseline of all rounding; shapes as above, or any with s one axis shorter."""
    low, high = int_range(bits)
    found: np.ndarray = np.clip(np.rint(w / s[..., None]), low, high).astype(np.int8)
    return found


def write_back(model: onnx.ModelProto, grids: Mapping[str, QuantizedWeight], layers: Mapping[str, WeightedLayer]) -> None:
    """Put grids in place of the integers that ONNX Runtime's quantizer rounded to, in place.

    Args:
        model: Q/DQ graph as its quantizer gave it.
        grids: By weight initializer of the float network.
        layers: The layer of each.
    """
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [one for one in model.graph.node if one.op_type == "DequantizeLinear"]:
        name = node.input[0].removesuffix(SUFFIX)
        if name == node.input[0] or name not in grids or node.input[0] not in values:
            continue
        integers, step = values[node.input[0]], values[node.input[1]]
        layer, grid = layers[name], grids[name]
        q = layer.from_matrix(grid.q, to_array(integers))
        s = grid.s.reshape(-1) if grid.per_channel else grid.s.reshape(-1)[0]
        integers.CopyFrom(from_array(q.astype(np.int8), integers.name))
        step.CopyFrom(from_array(np.asarray(s, np.float32).reshape(to_array(step).shape), step.name))
