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
import onnx_ir as ir

from compress.backends import onnx_graph as graphs

LEVELS = 255
"""Largest integer of HardSigmoid's result, which is in [0, 1]."""


def decompose_hardswish(model: ir.Model) -> None:
    """Replace each HardSwish by HardSigmoid and Mul, in place; the function stays the same."""
    for node in [node for node in model.graph if node.op_type == "HardSwish"]:
        x, y = node.inputs[0], node.outputs[0].name
        gate = graphs.make_node("HardSigmoid", [x], [f"{y}_gate"], f"{node.name}/gate", alpha=1 / 6, beta=0.5)
        graphs.replace_node(model, node, gate, graphs.make_node("Mul", [x, *gate.outputs], [""], f"{node.name}/product"))


def original_node_name(name: str) -> str:
    """Name of the node that a node was split from; its own where it was not."""
    return name.removesuffix("/gate").removesuffix("/product")


def hardsigmoid_to_qadd(model: ir.Model) -> None:
    """Replace each HardSigmoid between Q/DQ pairs by a saturating integer sum, in place.

    One whose input or output is float, or whose α or β is outside the range above, stays as it is.

    Args:
        model: Q/DQ graph, uint8 activations, the output of each HardSigmoid quantized with scale 1/255 and zero point 0.
    """
    for node in [node for node in model.graph if node.op_type == "HardSigmoid"]:
        before = node.inputs[0].producer() if node.inputs[0] is not None else None
        settings = graphs.attributes(node)
        alpha, beta = settings.get("alpha", 0.2), settings.get("beta", 0.5)
        if before is None or before.op_type != "DequantizeLinear" or alpha <= 0 or not 0 < beta <= 1:
            continue
        if any(reader.op_type == "QuantizeLinear" for reader in node.outputs[0].consumers()):
            _replace(model, node, before, alpha, beta)


def _replace(model: ir.Model, node: ir.Node, before: ir.Node, alpha: float, beta: float) -> None:
    """DQ(q, α s, z) + DQ(255, β/255, 0) in place of `node`; `before` is DQ(q, s, z)."""
    y = node.outputs[0].name
    arrays = {
        "slope": np.asarray(graphs.constant(before.inputs[1])) * np.float32(alpha),
        "beta": np.uint8(LEVELS),
        "step": np.float32(beta / LEVELS),
        "zero": np.uint8(0),
    }  # the quantizer has a `{y}_scale`
    slope, *offset = (graphs.add_initializer(model, f"{y}_{name}", np.asarray(array)) for name, array in arrays.items())
    scaled = graphs.make_node("DequantizeLinear", [before.inputs[0], slope, before.inputs[2]], [f"{y}_scaled"])
    shift = graphs.make_node("DequantizeLinear", offset, [f"{y}_offset"])
    total = graphs.make_node("Add", [*scaled.outputs, *shift.outputs], [""], str(node.name))
    graphs.replace_node(model, node, scaled, shift, total)
    if not before.outputs[0].uses():
        model.graph.remove(before, safe=True)  # the runtime would run it although nothing reads it
