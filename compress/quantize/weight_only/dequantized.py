"""Weights as integers that become float again where they are read; standard ONNX, for every runtime.

    W = DequantizeLinear(W_q, s)        or        W = Cast(W_q) · s

ONNX Runtime computes the second form once when it loads a file, so that the file becomes smaller and the latency stays. A
DequantizeLinear before a matrix product becomes an 8-bit `MatMulNBits` there, which takes twice the time of the float product
on a CPU with AVX2.
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
    model: ir.Model,
    bits: int,
    *,
    operators: Sequence[str] = ("Conv", *LINEAR),
    as_product: bool = False,
    exclude: Sequence[str] = (),
    tables: bool = True,
) -> ir.Model:
    """Replace weights by integers that become float again, and embedding tables by int8.

    Args:
        model: Float network; not changed.
        bits: 8, one scale per channel, or 4, one scale per `GROUP` inputs of a linear layer.
        operators: Types of operators whose weights are replaced.
        as_product: Write the form Cast(W_q) · s, for 8 bits.
        exclude: Names of nodes that are not quantized.
        tables: Whether embedding tables become int8.
    """
    layers = [layer for layer in weighted_layers(model) if layer.operator in operators and layer.name not in exclude]
    copy = convert_opset(model, INT4_OPSET) if bits == 4 and layers else model.clone()
    for layer in layers:
        _store_integers(copy, layer, bits, as_product=as_product)
    if tables:
        quantize_embeddings(copy, exclude=exclude)
    return copy


def _store_integers(model: ir.Model, layer: WeightedLayer, bits: int, *, as_product: bool) -> None:
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
    if as_product:
        scale = scale.reshape([-1 if axis == layer.axis else 1 for axis in range(weight.ndim)])
    integers = layer.from_matrix(q, weight)
    if bits == 4:
        integers = integers.astype(ir.DataType.INT4.numpy())
    initializers = [
        graphs.add_initializer(model, f"{layer.weight}_{name}", array)
        for name, array in (("integers", integers), ("scales", scale))
    ]
    if as_product:
        as_float = graphs.make_node("Cast", initializers[:1], [f"{layer.weight}_cast"], to=ir.DataType.FLOAT.value)
        nodes = [as_float, graphs.make_node("Mul", [as_float.outputs[0], initializers[1]], [layer.weight])]
    else:
        nodes = [graphs.make_node("DequantizeLinear", initializers, [layer.weight], "", **attributes)]
    model.graph.initializers[layer.weight].replace_all_uses_with(nodes[-1].outputs[0])
    del model.graph.initializers[layer.weight]
    model.graph.insert_before(model.graph[0], nodes)
