"""Narrow the range of a tensor before a saturating activation: values with nearly the same output may be clipped.

For example, SiLU maps all x < −5 to −0.03 … 0, but the convolution before it may output values down to −15, and a range that
covers them has a coarser scale. With activation function f, range [l, h], `LEVELS` levels and r half a scale of the output,

    l' = max{ a ∈ [l, 0] : |f(x) − f(a)| ≤ r for all l ≤ x ≤ a },     r = (max f − min f) / (2 (LEVELS − 1))

and h' in the same way from above. Clipping to [l', h'] changes f by at most the rounding error of its output. For HardSwish
l' = −3, without any error; for a sigmoid [l', h'] is about ±6. This method is not from the literature; it needs no samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import torch

from compress.quantize.ptq.following_activation import ActivationFunction, activation_after

LEVELS = 256
POINTS = 4096
"""Number of points on each side of 0 at which f is evaluated."""


def clip_to_activation(model: ir.Model, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Narrow the range of each tensor that only an activation function reads.

    Args:
        model: Float network.
        ranges: Smallest and largest value by tensor.
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
    """Index of the last value that differs by at most r from all values before it."""
    deviation = np.maximum(np.maximum.accumulate(y) - y, y - np.minimum.accumulate(y))
    return int(np.flatnonzero(deviation <= r)[-1])
