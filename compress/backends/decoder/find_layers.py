"""Find the layers of a decoder in its ONNX graph, whatever scheme quantized them.

A layer is a product of a tensor with a weight, which has its name, with what a scheme puts around it:

    float     MatMul → Add                 or Gemm
    int4      MatMulNBits → Add
    int8      DynamicQuantizeLinear → MatMulInteger → Cast → Mul → Add
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from compress.core.errors import ConversionError
from compress.core.language import gettext

PRODUCTS = ("MatMul", "Gemm", "MatMulNBits", "MatMulInteger")
QUANTIZERS = ("DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear")
SCALINGS = ("Cast", "Mul", "Add", *QUANTIZERS)
SAME_DATA = ("Reshape", "Identity")


def find_layer(model: ir.Model, name: str, operators: Iterable[str] = PRODUCTS) -> ir.Node:
    """The product of a layer.

    Args:
        model: The network.
        name: Of the layer, as in the torch network.
        operators: Its types.

    Raises:
        ConversionError: There is none.
    """
    allowed = set(operators)
    for node in model.graph:
        if node.op_type in allowed and str(node.name).partition("/")[0] == name:
            return node
    msg = gettext("the graph has no layer {name!r}, so no keys and values can be kept", name=name)
    raise ConversionError(msg)


def read_rows(lookup: ir.Node, rows: ir.Value) -> None:
    """Make a lookup read these rows of its table, and of the scales of the rows where the table is stored as integers.

    Args:
        lookup: The node.
        rows: In place of those that it reads.
    """
    table, old = lookup.inputs[:2]
    assert table is not None  # noqa: S101  # a lookup has a table and rows
    assert old is not None  # noqa: S101
    for node in {use.node for use in old.uses() if use.node.op_type == lookup.op_type and use.idx == 1}:
        own = node.inputs[0]
        if own is not None and own.is_initializer() and own.shape and table.shape and own.shape[0] == table.shape[0]:
            node.replace_input_with(1, rows)


def layer_input(node: ir.Node) -> ir.Value:
    """The float tensor that a layer reads."""
    value = node.inputs[0]
    while value is not None and (producer := value.producer()) is not None and producer.op_type in QUANTIZERS:
        value = producer.inputs[0]
    assert value is not None  # noqa: S101  # a product has a first operand
    return value


def layer_result(node: ir.Node) -> ir.Value:
    """The float tensor that a layer computes, with its bias, before it is split into heads."""
    return _follow(node.outputs[0], SCALINGS)


def joint_results(node: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Queries, keys and values of a layer that computes them side by side.

    Raises:
        ConversionError: Its result is not split in three.
    """
    result = _follow(node.outputs[0], (*SCALINGS, *SAME_DATA))
    split = next((use.node for use in result.uses() if use.node.op_type == "Split"), None)
    if split is None or len(split.outputs) != 3:
        msg = gettext("the result of {name!r} is not split into queries, keys and values", name=node.name)
        raise ConversionError(msg)
    query, key, value = split.outputs
    return query, key, value


def _follow(value: ir.Value, operators: tuple[str, ...]) -> ir.Value:
    """The last tensor of a chain of operators, each the only reader of the tensor before."""
    while len(uses := tuple(value.uses())) == 1 and uses[0].node.op_type in operators:
        value = uses[0].node.outputs[0]
    return value
