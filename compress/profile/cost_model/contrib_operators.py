"""Operators of ONNX Runtime outside the ONNX standard: their shapes and their sums of products."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import onnx
from onnx import helper

SAME_SHAPE = frozenset({"Gelu", "BiasGelu", "FastGelu", "QuickGelu", "MultiHeadAttention", "SkipLayerNormalization"})
"""Operators whose result has the shape of their first input; MultiHeadAttention where queries and values have equal width."""
WITH_FORMULA = frozenset({"MatMulNBits", "MultiHeadAttention"})
"""Operators with sums of products that `contrib_products` counts."""


def standard_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which operators outside the standard are standard ones with the same shapes, for shape inference.

    The model itself is returned if it has none.
    """
    replaced = [node.op_type in SAME_SHAPE | {"MatMulNBits"} and bool(node.domain) for node in model.graph.node]
    if not any(replaced):
        return model
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    del twin.graph.node[:]
    for index, node in enumerate(model.graph.node):
        if not replaced[index]:
            twin.graph.node.append(node)
        elif node.op_type == "MatMulNBits":
            sizes = _integers(node)
            weight = f"{node.output[0]}_twin"
            twin.graph.input.append(helper.make_tensor_value_info(weight, onnx.TensorProto.FLOAT, [sizes["K"], sizes["N"]]))
            twin.graph.node.append(helper.make_node("MatMul", [node.input[0], weight], [node.output[0]]))
        else:
            twin.graph.node.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
    return twin


def contrib_products(node: onnx.NodeProto, shape: Callable[[str], tuple[int, ...]]) -> int:
    """Multiply-accumulates of an operator of `WITH_FORMULA`; 0 for others.

    Args:
        node: The operator.
        shape: Shape of a tensor by its name.
    """
    if not node.domain:
        return 0
    if node.op_type == "MatMulNBits":
        return prod(shape(node.output[0])) * _integers(node)["K"]
    if node.op_type == "MultiHeadAttention":  # Q Kᵀ and the weighted sum of V, each over all keys
        keys = shape(node.input[1])[1]
        return keys * (prod(shape(node.input[0])) + prod(shape(node.output[0])))
    return 0


def _integers(node: onnx.NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute if attribute.type == onnx.AttributeProto.INT}
