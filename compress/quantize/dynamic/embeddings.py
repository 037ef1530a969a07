"""Embedding tables in int8: rows are looked up as integers and scaled afterwards.

    E[i] ≈ s_i E_q[i],   s_i = max_j |E[i, j]| / 127

Each row has a scale of its own, because the norms of token vectors differ widely. In a small text encoder the table is a third
to a half of the weights; the lookup costs one multiplication per element of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends.runner_protocol import Array
from compress.quantize.ptq.quantized_weight import round_to_nearest, weight_scales

SMALLEST_TABLE = 16_384
"""Fewest elements of a table that becomes int8: a smaller one saves little and costs the nodes that scale it."""


def quantize_embeddings(model: ir.Model, *, layer_bits: int = 8, exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Store the tables of row lookups (`Gather` on axis 0 of a constant matrix) in int8, in place.

    Args:
        model: Float network; changed.
        layer_bits: Bits of the weights of linear layers that are quantized already. A table that is the weight of such a layer,
            too, has as many, so that both are one matrix.
        exclude: Names of nodes whose table stays in float.

    Returns:
        Names of the lookups, in graph order.
    """
    tables = {
        name: value for name, value in model.graph.initializers.items()
        if is_table(value) and not any(str(node.name) in exclude for node in value.consumers())
    }  # fmt: skip
    names: list[str] = []
    for name, value in tables.items():
        e = np.asarray(graphs.constant(value))
        rows, s = _integers(e, 8)
        if layer_bits != 8 and _is_weight(model, (tied := _integers(e, layer_bits))[0]):
            rows, s = tied
        integers = graphs.add_initializer(model, f"{name}_rows_int8", rows)
        scales = graphs.add_initializer(model, f"{name}_rows_scale", s[0, :, None])
        for node in value.consumers():
            _look_up(model, node, integers, scales)
            names.append(str(node.name))
        del model.graph.initializers[name]
    order = {str(node.name): index for index, node in enumerate(model.graph)}
    return tuple(sorted(names, key=lambda name: order[name]))


def _integers(e: Array, bits: int) -> tuple[Array, Array]:
    """Integers of a table (V, D), and the scale of each row, (1, V)."""
    s = weight_scales(e[None], bits, per_channel=True, search=False)
    return round_to_nearest(e[None], s, bits)[0], s


def _is_weight(model: ir.Model, rows: Array) -> bool:
    """Whether the integers are those of a linear layer, (D, V), whose outputs are the rows."""
    shape = rows.shape[::-1]
    return any(
        value.dtype == ir.DataType.INT8
        and graphs.dims(value) == list(shape)
        and np.array_equal(np.asarray(graphs.constant(value)), rows.T)
        for value in model.graph.initializers.values()
    )


def is_table(value: ir.Value) -> bool:
    """Whether an initializer is a large float matrix that only row lookups read."""
    size = graphs.dims(value)
    lookups = [node.op_type == "Gather" and not graphs.attributes(node).get("axis", 0) for node in value.consumers()]
    is_matrix = size is not None and len(size) == 2 and size[0] * size[1] >= SMALLEST_TABLE
    first = all(index == 0 for _, index in value.uses())
    return is_matrix and value.dtype == ir.DataType.FLOAT and bool(lookups) and all(lookups) and first


def _look_up(model: ir.Model, node: ir.Node, integers: ir.Value, scales: ir.Value) -> None:
    """Make a lookup read the integers, and scale its result."""
    result = node.outputs[0]
    name, indices = str(result.name), node.inputs[1]
    node.replace_input_with(0, integers)
    result.name = f"{name}_rows"  # `_q` are the integers of a linear layer that reads the result
    as_float = graphs.make_node("Cast", [result], [f"{name}_rows_cast"], to=ir.DataType.FLOAT.value)
    row_scales = graphs.make_node("Gather", [scales, indices], [f"{name}_rows_s"], axis=0)
    scaled = graphs.make_node("Mul", [as_float.outputs[0], row_scales.outputs[0]], [f"{name}_rows_scaled"])
    scaled.outputs[0].type, scaled.outputs[0].shape = result.type, result.shape
    result.replace_all_uses_with(scaled.outputs[0], replace_graph_outputs=True)
    as_float.replace_input_with(0, result)
    result.type = ir.TensorType(ir.DataType.INT8)
    model.graph.insert_after(node, [as_float, row_scales, scaled])
    scaled.outputs[0].name = name
