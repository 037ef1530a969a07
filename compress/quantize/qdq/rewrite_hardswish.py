"""HardSwish and HardSigmoid in integers, for ONNX Runtime, which has no integer kernel of either.

    HardSwish(x) = x · HardSigmoid(x),      HardSigmoid(x) = clip(α x + β, 0, 1)

With x ≈ s (q − z), α x ≈ (α s)(q − z): the same integers under another scale. So a Q/DQ graph says

    DequantizeLinear(q, α s, z) + β  ─►  QuantizeLinear(1/255, 0)

which ONNX Runtime fuses into one integer sum (`QLinearAdd`), and an unsigned integer with scale 1/255 and zero point 0
saturates at 0 and 1 by itself: that is the clip. The product with x is its integer product (`QLinearMul`).

Symbols: s, z scale and zero point of x; q uint8; α > 0, β in (0, 1].
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

LEVELS = 255
"""Largest integer of HardSigmoid's result, which is in [0, 1]."""


def decompose_hardswish(model: onnx.ModelProto) -> None:
    """Replace each HardSwish by HardSigmoid and Mul, in place; the function stays the same."""
    graph = model.graph
    for node in [node for node in graph.node if node.op_type == "HardSwish"]:
        position = list(graph.node).index(node)
        x, y = node.input[0], node.output[0]
        gate = f"{y}_gate"
        graph.node.remove(node)
        graph.node.insert(position, make_node("HardSigmoid", [x], [gate], f"{node.name}/gate", alpha=1 / 6, beta=0.5))
        graph.node.insert(position + 1, make_node("Mul", [x, gate], [y], f"{node.name}/product"))


def original_node_name(name: str) -> str:
    """Name of the node that a node was split from; its own where it was not."""
    return name.removesuffix("/gate").removesuffix("/product")


def hardsigmoid_to_qadd(model: onnx.ModelProto) -> None:
    """Replace each HardSigmoid between Q/DQ pairs by a saturating integer sum, in place.

    One whose input or output is float, or whose α or β is outside the range above, stays as it is.

    Args:
        model: Q/DQ graph, uint8 activations, the output of each HardSigmoid quantized with scale 1/255 and zero point 0.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    quantized = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in [node for node in graph.node if node.op_type == "HardSigmoid"]:
        before = producer.get(node.input[0])
        alpha, beta = _attribute(node, "alpha", 0.2), _attribute(node, "beta", 0.5)
        if before is None or before.op_type != "DequantizeLinear" or node.output[0] not in quantized:
            continue
        if alpha <= 0 or not 0 < beta <= 1:
            continue
        s = to_array(constants[before.input[1]])
        _replace(graph, node, before, s * np.float32(alpha), np.float32(beta / LEVELS))


def _replace(
    graph: onnx.GraphProto, node: onnx.NodeProto, before: onnx.NodeProto, s: np.ndarray, offset_scale: np.float32
) -> None:
    """DQ(q, α s, z) + DQ(255, β/255, 0) in place of `node`."""
    y = node.output[0]
    values = {
        "slope": s,
        "beta": np.uint8(LEVELS),
        "step": offset_scale,
        "zero": np.uint8(0),
    }  # the quantizer has a `{y}_scale`
    graph.initializer.extend(from_array(np.asarray(value), f"{y}_{name}") for name, value in values.items())
    nodes = (
        make_node("DequantizeLinear", [before.input[0], f"{y}_slope", before.input[2]], [f"{y}_scaled"]),
        make_node("DequantizeLinear", [f"{y}_{name}" for name in ("beta", "step", "zero")], [f"{y}_offset"]),
        make_node("Add", [f"{y}_scaled", f"{y}_offset"], [y], node.name),
    )
    position = list(graph.node).index(node)
    graph.node.remove(node)
    for offset, new in enumerate(nodes):
        graph.node.insert(position + offset, new)
    if not any(before.output[0] in other.input for other in graph.node):
        graph.node.remove(before)  # the runtime would run it although nothing reads it


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(attribute.f) for attribute in node.attribute if attribute.name == name), default)
