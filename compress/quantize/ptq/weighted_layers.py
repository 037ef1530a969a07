"""Weighted operators of a float ONNX network as matrices, and putting changed weights back.

A weight is seen as W, (G, K, D): G groups, K output channels a group, D inputs of one output (channels × kernel). Linear layers
have G = 1; a depthwise convolution has one channel a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

LINEAR = ("Gemm", "MatMul")


@dataclass(frozen=True)
class WeightedLayer:
    """One operator with a constant weight.

    Attributes:
        name: Of its node.
        operator: Conv, Gemm or MatMul.
        input: Tensor that it reads.
        output: Tensor that it gives.
        weight: Its weight initializer.
        bias: Its bias initializer; empty without.
        axis: Axis of the weight that counts output channels.
        groups: Of a convolution; else 1.
    """

    name: str
    operator: str
    input: str
    output: str
    weight: str
    bias: str
    axis: int
    groups: int = 1

    def to_matrix(self, weight: np.ndarray) -> np.ndarray:
        """W, (G, K, D), of the weight as stored."""
        moved = np.moveaxis(weight, self.axis, 0)
        return moved.reshape(self.groups, moved.shape[0] // self.groups, -1)

    def from_matrix(self, matrix: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The weight as stored, of W; `like` is the one that it replaces."""
        moved = np.moveaxis(like, self.axis, 0)
        return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved.shape), 0, self.axis))


def weighted_layers(model: onnx.ModelProto) -> tuple[WeightedLayer, ...]:
    """Convolutions and products with a constant weight that no other operator shares, in graph order."""
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    constant = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", *LINEAR) or constant.get(node.input[1], 0) < 2 or readers[node.input[1]] != 1:
            continue
        if node.op_type == "Conv" and constant[node.input[1]] != 4:
            continue
        given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if given.get("transA") or given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
            continue
        bias = node.input[2] if len(node.input) > 2 and readers[node.input[2]] == 1 else ""
        axis = 0 if node.op_type == "Conv" or given.get("transB") else constant[node.input[1]] - 1
        groups = int(given.get("group", 1))
        found.append(WeightedLayer(node.name, node.op_type, node.input[0], node.output[0], node.input[1], bias, axis, groups))
    return tuple(found)


def read_weight(model: onnx.ModelProto, name: str) -> np.ndarray:
    """An initializer, writable."""
    return np.array(to_array(next(one for one in model.graph.initializer if one.name == name)))


def with_weights(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A copy with some initializers replaced."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(from_array(values[tensor.name].astype(np.float32), tensor.name))
    return copy


def with_biases(model: onnx.ModelProto, layers: Iterable[WeightedLayer]) -> onnx.ModelProto:
    """A copy in which each convolution or Gemm of `layers` has a bias of its own; a new one is zero.

    A MatMul takes none: what is to be added to its result has no place there.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    lacking = {layer.name: layer for layer in layers if not layer.bias and layer.operator != "MatMul"}
    for node in copy.graph.node:
        layer = lacking.get(node.name)
        if layer is None or len(node.input) > 2:
            continue
        channels = read_weight(model, layer.weight).shape[layer.axis]
        name = f"{node.name}.bias_added"
        copy.graph.initializer.append(from_array(np.zeros(channels, np.float32), name))
        node.input.append(name)
    return copy
