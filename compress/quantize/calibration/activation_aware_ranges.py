"""Levels for where an activation function bends: what it makes the same, or nearly, may saturate before it.

A SiLU gives −0.03 … 0 for all of x < −5, and yet a convolution's outputs before it reach −15: a range that holds those has a
step half as large again as one from −5. With f the function, r half a step of what it gives over [l, h], and q levels,

    l' = max{ a ∈ [l, 0] : |f(x) − f(a)| ≤ r for all l ≤ x ≤ a },     r = (max f − min f) / 2(q − 1)

and likewise h' from above. What saturates then moves f by no more than the rounding of its result may. Before a HardSwish that
is −3, where it is exact; before a gate's sigmoid some ±6. Ours; no calibration samples are needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch

from compress.quantize.ptq.following_activation import ActivationFunction, activation_after

LEVELS = 256
POINTS = 4096
"""That the range is divided into."""


def clip_to_activation(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The ranges, of what a function alone reads no wider than the function needs.

    Args:
        model: Float network.
        ranges: Lowest and highest value by tensor.
    """
    bends = {name: activation_after(model, name) for name in ranges}
    return {name: own if (bend := bends[name]) is None else _needed(bend, *own) for name, own in ranges.items()}


def _needed(bend: ActivationFunction, low: float, high: float) -> tuple[float, float]:
    low, high = min(low, 0.0), max(high, 0.0)
    x = np.concatenate([np.linspace(low, 0, POINTS), np.linspace(0, high, POINTS)])
    y = bend(torch.from_numpy(x)).numpy()
    half = (y.max() - y.min()) / (2 * (LEVELS - 1))
    return float(x[:POINTS][_flat(y[:POINTS], half)]), float(x[POINTS:][::-1][_flat(y[POINTS:][::-1], half)])


def _flat(y: np.ndarray, half: float) -> int:
    """The last place that is within `half` of all before it."""
    apart = np.maximum(np.maximum.accumulate(y) - y, y - np.minimum.accumulate(y))
    return int(np.flatnonzero(apart <= half)[-1])
