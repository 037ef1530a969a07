"""Find the activation function that follows a tensor: it determines which values of the tensor must be accurate."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from torch import Tensor
from torch.nn import functional as F

from compress.backends import onnx_graph as graphs

ActivationFunction = Callable[[Tensor], Tensor]

PLAIN: dict[str, ActivationFunction] = {"Relu": F.relu, "HardSwish": F.hardswish, "Gelu": F.gelu, "Sigmoid": F.sigmoid}
GATED: dict[str, ActivationFunction] = {"Sigmoid": F.silu, "HardSigmoid": F.hardswish}
"""Function x · gate(x), by type of the gate."""


def activation_after(tensor: ir.Value) -> ActivationFunction | None:
    """The activation function that reads a tensor, as torch function; None if anything else reads the tensor, too."""
    consumers = tensor.consumers()
    if len(consumers) == 1:
        (node,) = consumers
        if node.op_type == "Clip":
            return _clip(node)
        return _hard_sigmoid(node) if node.op_type == "HardSigmoid" else PLAIN.get(node.op_type)
    if len(consumers) == 2 and "Mul" in (node.op_type for node in consumers):
        gate, product = sorted(consumers, key=lambda node: node.op_type == "Mul")
        inputs = {tensor, *gate.outputs}
        if set(product.inputs) == inputs and (gate.op_type != "HardSigmoid" or abs(_slope(gate) - 1 / 6) < 1e-6):
            return GATED.get(gate.op_type)
    return None


def _slope(node: ir.Node) -> float:
    """α of HardSigmoid, clip(α x + β, 0, 1)."""
    return float(graphs.attributes(node).get("alpha", 0.2))


def _hard_sigmoid(node: ir.Node) -> ActivationFunction:
    alpha, beta = _slope(node), float(graphs.attributes(node).get("beta", 0.5))
    return lambda x: (alpha * x + beta).clamp(0, 1)


def _clip(node: ir.Node) -> ActivationFunction | None:
    """A Clip as torch function; None if its limits are not constant, or it has none."""
    bounds = [graphs.constant(value) for value in node.inputs[1:]]
    if any(value is not None and bound is None for value, bound in zip(node.inputs[1:], bounds, strict=True)):
        return None
    low, high = (None if bound is None else float(bound) for bound in (*bounds, None, None)[:2])
    return None if low is None and high is None else lambda x: x.clamp(low, high)
