"""Narrow ranges before a saturating activation: values that it maps to the same output, or nearly, may saturate before it.

A SiLU maps all of x < −5 to −0.03 … 0, and yet a convolution's outputs before it reach −15: a range that covers those has a
scale half as large again as one from −5. With f the function, r half a scale of its output over [l, h], and q levels,

    l' = max{ a ∈ [l, 0] : |f(x) − f(a)| ≤ r for all l ≤ x ≤ a },     r = (max f − min f) / 2(q − 1)

and likewise h' from above. Saturation then changes f by no more than the rounding of its output may. Before a HardSwish l' is
−3, where it is exact; before a sigmoid gate about ±6. Own method; it needs no calibration samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import torch

from compress.quantize.ptq.following_activation import ActivationFunction, activation_after

LEVELS = 256
POINTS = 4096
"""Into which each side of the range is divided."""


def clip_to_activation(model: ir.Model, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """The ranges, narrowed for each tensor that only an activation function reads.

    Args:
        model: Float network.
        ranges: Lowest and highest value by tensor.
    """
    values = ir.convenience.create_value_mapping(model.graph)
    activations = {name: activation_after(values[name]) for name in ranges}
    return {
        name: limits if (activation := activations[name]) is None else _narrow(activation, *limits)
        for name, limits in ranges.items()
    }


def _narrow(activation: ActivationFunction, low: float, high: float) -> tuple[float, float]:
    low, high = min(low, 0.0), max(high, 0.0)
    x = np.concatenate([np.linspace(low, 0, POINTS), np.linspace(0, high, POINTS)])
    y = activation(torch.from_numpy(x)).numpy()
    r = (y.max() - y.min()) / (2 * (LEVELS - 1))
    first, last = _flat_until(y[:POINTS], r), _flat_until(y[POINTS:][::-1], r)
    return float(x[:POINTS][first]), float(x[POINTS:][::-1][last])


def _flat_until(y: np.ndarray, r: float) -> int:
    """Index of the last value that is within r of all before it."""
    deviation = np.maximum(np.maximum.accumulate(y) - y, y - np.minimum.accumulate(y))
    return int(np.flatnonzero(deviation <= r)[-1])
