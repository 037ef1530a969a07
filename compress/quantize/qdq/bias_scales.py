"""Adjust scales such that the int32 bias of an integer layer is exact enough.

A runtime stores a bias as int32 with the scale s_x s_w of the layer's products (Jacob et al. 2018, arXiv:1712.05877, section
2.4):

    b ≈ s_x s_w q,      |q| < 2³¹

So b is clipped if |b| ≥ 2³¹ s_x s_w, and lost if s_x s_w underflows. A channel whose weights are all 0 does not determine s_w;
a dead input, 0 for all calibration samples, does not determine s_x. ONNX Runtime's quantizer sets such a scale to 1, which may
be far too coarse for b. Here

    s_x = max |b| / (2¹⁶ max s_w)             if x is dead
    s_w = |b| / (2²⁴ s_x)                     if all weights of the channel are 0
    s_w ≥ |b| / (2³⁰ s_x), s_x s_w ≥ 2⁻¹²⁵    always; weights are rounded again if their scale was raised
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.quantize.analysis.float_fallback import is_dequantized

WITH_BIAS = ("Conv", "ConvTranspose", "Gemm")
DEAD_INPUT_INTEGERS, ZERO_CHANNEL_INTEGERS, MAX_INTEGERS = 2.0**16, 2.0**24, 2.0**30
LEAST_PRODUCT = 2.0**-125
"""Four times the smallest normal float32."""


@dataclass(frozen=True, eq=False)
class _IntegerLayer:
    """An integer layer with a bias: input scale, weights, their scales and the axis of these, |b| by channel."""

    input_scale: ir.Value
    weights: ir.Value
    weight_scale: ir.Value
    axis: int
    magnitudes: np.ndarray

    @property
    def s_x(self) -> float:
        return float(_array(self.input_scale))


def fit_scales_to_biases(model: ir.Model, dead: Collection[str]) -> None:
    """Adjust the scales of all integer layers, in place.

    Args:
        model: Q/DQ graph in which tensors have the names of the float network.
        dead: Names of tensors that are 0 for all calibration samples.
    """
    layers = list(_integer_layers(model))
    dead_scales = {node.inputs[1] for node in model.graph if node.op_type == "QuantizeLinear" and _reads(node, dead)}
    for scale in dead_scales:
        candidates = [
            layer.magnitudes.max() / (DEAD_INPUT_INTEGERS * float(_array(layer.weight_scale).max()))
            for layer in layers
            if layer.input_scale is scale and layer.magnitudes.any()
        ]
        if scale is not None and candidates:
            graphs.set_constant(scale, np.full_like(_array(scale), max(min(candidates), LEAST_PRODUCT)))
    by_weight: dict[tuple[ir.Value, ir.Value], list[_IntegerLayer]] = defaultdict(list)
    for layer in layers:
        by_weight[layer.weights, layer.weight_scale].append(layer)
    for users in by_weight.values():
        _fit_weight_scale(users)


def _integer_layers(model: ir.Model) -> Iterator[_IntegerLayer]:
    for node in [node for node in model.graph if node.op_type in WITH_BIAS and len(node.inputs) > 2]:
        sources = [value.producer() for value in node.inputs[:2] if value is not None and is_dequantized(value)]
        bias = graphs.constant(node.inputs[2])
        if bias is None or len(sources) != 2 or sources[0] is None or sources[1] is None:
            continue
        (_, s_x, *_), (q, s_w, *_) = sources[0].inputs, sources[1].inputs
        if s_x is None or q is None or s_w is None or graphs.constant(q) is None or _array(s_x).size != 1:
            continue
        scales = _array(s_w).size
        if scales == 1 or bias.size in (1, scales):
            magnitudes = np.abs(bias.astype(np.float64)).reshape(-1)
            axis = int(graphs.attributes(sources[1]).get("axis", 1))
            yield _IntegerLayer(s_x, q, s_w, axis, magnitudes.max(keepdims=True) if scales == 1 else magnitudes)


def _fit_weight_scale(users: list[_IntegerLayer]) -> None:
    """Adjust the scale of one weight tensor, which several layers may share."""
    layer = users[0]
    integers, weight_scale = _array(layer.weights), _array(layer.weight_scale)
    scales = weight_scale.astype(np.float64).reshape(-1)
    rows = integers.reshape(1, -1) if scales.size == 1 else np.moveaxis(integers, layer.axis, 0).reshape(scales.size, -1)
    fitted = np.full(scales.size, np.inf)
    least = np.zeros(scales.size)
    for user in users:
        finest = user.magnitudes / (ZERO_CHANNEL_INTEGERS * user.s_x)
        fitted = np.minimum(fitted, np.where(finest > 0, finest, np.inf))
        least = np.maximum(least, np.maximum(user.magnitudes / MAX_INTEGERS, LEAST_PRODUCT) / user.s_x)
    new = np.maximum(np.where(rows.any(1) | np.isinf(fitted), scales, fitted), least).astype(np.float32)
    if np.array_equal(new, scales):
        return
    shape = [-1 if scales.size > 1 and axis == layer.axis % integers.ndim else 1 for axis in range(integers.ndim)]
    graphs.set_constant(layer.weights, np.rint(integers * (scales / new).reshape(shape)).astype(integers.dtype))
    graphs.set_constant(layer.weight_scale, new.reshape(weight_scale.shape))


def _array(value: ir.Value) -> np.ndarray:
    return np.asarray(graphs.constant(value))


def _reads(node: ir.Node, names: Collection[str]) -> bool:
    return node.inputs[0] is not None and node.inputs[0].name in names
