"""Weights as integers that a DequantizeLinear makes float again; standard ONNX, for every runtime.

ONNX Runtime computes these constants when it loads the file, so the file becomes smaller and the latency does not change.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.quantize.bfloat16 import convert_opset
from compress.quantize.dynamic.embeddings import quantize_embeddings
from compress.quantize.ptq.quantized_weight import round_to_nearest, weight_scales
from compress.quantize.ptq.weighted_layers import LINEAR, WeightedLayer, read_weight, weighted_layers

GROUP = 32
"""Number of inputs that share a scale in int4."""
INT4_OPSET = 21
"""The first opset with int4 and blockwise scales."""


def dequantized_weights(
    model: ir.Model, bits: int, *, operators: Sequence[str] = ("Conv", *LINEAR), exclude: Sequence[str] = ()
) -> ir.Model:
    """Replace weights by integers followed by DequantizeLinear, and embedding tables by int8.

    Args:
        model: Float network; not changed.
        bits: 8, one scale per channel, or 4, one scale per `GROUP` inputs of a linear layer.
        operators: Types of operators whose weights are replaced.
        exclude: Names of nodes that are not quantized.
    """
    layers = [layer for layer in weighted_layers(model) if layer.operator in operators and layer.name not in exclude]
    copy = convert_opset(model, INT4_OPSET) if bits == 4 and layers else model.clone()
    for layer in layers:
        _store_integers(copy, layer, bits)
    quantize_embeddings(copy, exclude=exclude)
    return copy


def _store_integers(model: ir.Model, layer: WeightedLayer, bits: int) -> None:
    weight = read_weight(model, layer.weight)
    w = layer.to_matrix(weight)
    grouped = bits == 4 and layer.operator in LINEAR and w.shape[2] % GROUP == 0
    if grouped:  # each group of inputs is a row
        rows = w.reshape(1, -1, GROUP)
        s = weight_scales(rows, bits, per_channel=True, search=False)
        q = round_to_nearest(rows, s, bits).reshape(w.shape)
        by_output: np.ndarray = s.reshape(w.shape[1], -1)
        scale: np.ndarray = by_output if layer.axis == 0 else by_output.T
        attributes = {"axis": 1 - layer.axis, "block_size": GROUP}
    else:
        s = weight_scales(w, bits, per_channel=True, search=False)
        q, scale, attributes = round_to_nearest(w, s, bits), s.ravel(), {"axis": layer.axis}
    integers = layer.from_matrix(q, weight)
    if bits == 4:
        integers = integers.astype(ir.DataType.INT4.numpy())
    initializers = [
        graphs.add_initializer(model, f"{layer.weight}_{name}", array)
        for name, array in (("integers", integers), ("scales", scale))
    ]
    dequantize = graphs.make_node("DequantizeLinear", initializers, [layer.weight], "", **attributes)
    model.graph.initializers[layer.weight].replace_all_uses_with(dequantize.outputs[0])
    del model.graph.initializers[layer.weight]
    model.graph.insert_before(model.graph[0], dequantize)
