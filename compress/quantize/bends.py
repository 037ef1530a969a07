"""The activation function behind a layer, as torch computes it: it decides where the layer's outputs must be right."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx.numpy_helper import to_array
from torch import Tensor
from torch.nn import functional as F

from compress.quantize.layers import Layer

Bend = Callable[[Tensor], Tensor]

PLAIN: dict[str, Bend] = {"Relu": F.relu, "HardSwish": F.hardswish, "Gelu": F.gelu}
GATED: dict[str, Bend] = {"Sigmoid": F.silu, "HardSigmoid": F.hardswish}
"""What x · gate(x) is."""


def bend_of(model: onnx.ModelProto, layer: Layer) -> Bend | None:
    """The function that alone reads the layer's output: ReLU, clip, HardSwish, SiLU, GELU; None for anything else."""
    readers = [node for node in model.graph.node if layer.output in node.input]
    kinds = sorted(node.op_type for node in readers)
    if len(readers) == 1:
        return _clip(model, readers[0]) if kinds == ["Clip"] else PLAIN.get(kinds[0])
    if len(readers) == 2 and "Mul" in kinds:
        gate, product = sorted(readers, key=lambda node: node.op_type == "Mul")
        alpha = next((one.f for one in gate.attribute if one.name == "alpha"), 0.2)
        if set(product.input) == {layer.output, *gate.output} and (gate.op_type != "HardSigmoid" or abs(alpha - 1 / 6) < 1e-6):
            return GATED.get(gate.op_type)
    return None


def _clip(model: onnx.ModelProto, node: onnx.NodeProto) -> Bend | None:
    """Clip with constant limits."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if any(name and name not in constants for name in node.input[1:]):
        return None
    low, high = (
        float(to_array(constants[name])) if name else None for name in (*node.input[1:], "", "")[:2]
    )  # fmt: skip
    return None if low is None and high is None else lambda x: x.clamp(low, high)
