"""The activation function behind a tensor, as torch computes it: it decides where the tensor must be right."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx.numpy_helper import to_array
from torch import Tensor
from torch.nn import functional as F

ActivationFunction = Callable[[Tensor], Tensor]

PLAIN: dict[str, ActivationFunction] = {"Relu": F.relu, "HardSwish": F.hardswish, "Gelu": F.gelu, "Sigmoid": F.sigmoid}
GATED: dict[str, ActivationFunction] = {"Sigmoid": F.silu, "HardSigmoid": F.hardswish}
"""What x · gate(x) is."""


def activation_after(model: onnx.ModelProto, tensor: str) -> ActivationFunction | None:
    """The function that alone reads a tensor: ReLU, clip, HardSwish, SiLU, GELU or a gate; None for anything else."""
    readers = [node for node in model.graph.node if tensor in node.input]
    kinds = sorted(node.op_type for node in readers)
    if len(readers) == 1:
        special = {"Clip": _clip, "HardSigmoid": _hard_sigmoid}.get(kinds[0])
        return PLAIN.get(kinds[0]) if special is None else special(model, readers[0])
    if len(readers) == 2 and "Mul" in kinds:
        gate, product = sorted(readers, key=lambda node: node.op_type == "Mul")
        alpha, _ = _slope(gate)
        if set(product.input) == {tensor, *gate.output} and (gate.op_type != "HardSigmoid" or abs(alpha - 1 / 6) < 1e-6):
            return GATED.get(gate.op_type)
    return None


def _slope(node: onnx.NodeProto) -> tuple[float, float]:
    """α and β of clip(α x + β, 0, 1)."""
    given = {one.name: one.f for one in node.attribute}
    return given.get("alpha", 0.2), given.get("beta", 0.5)


def _hard_sigmoid(model: onnx.ModelProto, node: onnx.NodeProto) -> ActivationFunction:  # noqa: ARG001  # as `_clip`
    alpha, beta = _slope(node)
    return lambda x: (alpha * x + beta).clamp(0, 1)


def _clip(model: onnx.ModelProto, node: onnx.NodeProto) -> ActivationFunction | None:
    """Clip with constant limits."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if any(name and name not in constants for name in node.input[1:]):
        return None
    low, high = (
        float(to_array(constants[name])) if name else None for name in (*node.input[1:], "", "")[:2]
    )  # fmt: skip
    return None if low is None and high is None else lambda x: x.clamp(low, high)
