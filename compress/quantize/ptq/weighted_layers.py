"""Layers with a constant weight in a float ONNX network, and their weights as matrices.

A weight has the matrix form W, (G, K, D): G groups, K output channels per group, D inputs per output (channels × kernel).
Linear layers have G = 1; a depthwise convolution has one channel per group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs

LINEAR = ("Gemm", "MatMul")


@dataclass(frozen=True)
class WeightedLayer:
    """One operator with a constant weight.

    Attributes:
        name: Name of the node.
        operator: Conv, Gemm or MatMul.
        input: Input tensor.
        output: Output tensor.
        weight: Weight initializer.
        bias: Bias initializer that no other node reads; else empty.
        axis: Axis of the output channels in the weight.
        groups: Groups of a convolution; else 1.
    """

    name: str
    operator: str
    input: str
    output: str
    weight: str
    bias: str
    axis: int
    groups: int = 1

    @property
    def key(self) -> tuple[str, int]:
        """The weight, and the axis of the outputs in it: layers with the same key have the same matrix."""
        return self.weight, self.axis

    def to_matrix(self, weight: np.ndarray) -> np.ndarray:
        """W, (G, K, D), from a weight in the shape of the initializer."""
        moved = np.moveaxis(weight, self.axis, 0)
        return moved.reshape(self.groups, moved.shape[0] // self.groups, -1)

    def from_matrix(self, matrix: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The weight in the shape of the initializer, from W (G, K, D); `like` is the weight that it replaces."""
        moved = np.moveaxis(like, self.axis, 0)
        return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved.shape), 0, self.axis))


def weighted_layers(model: ir.Model, *, shared: bool = False) -> tuple[WeightedLayer, ...]:
    """2-D convolutions and matrix products with a constant weight, in graph order.

    Args:
        model: The network.
        shared: Include layers whose weight other operators read, too; by default nothing else reads it.
    """
    nodes = [node for node in model.graph if node.op_type in ("Conv", *LINEAR) and node.domain == ""]
    layers = (_weighted_layer(node) for node in nodes if shared or len(node.inputs[1].uses() if node.inputs[1] else ()) == 1)
    return tuple(layer for layer in layers if layer is not None)


def _weighted_layer(node: ir.Node) -> WeightedLayer | None:
    weight = node.inputs[1]
    if weight is None or not weight.is_initializer() or weight.shape is None:
        return None
    rank = len(weight.shape)
    settings = graphs.attributes(node)
    if rank < 2 or (node.op_type == "Conv" and rank != 4):
        return None
    if settings.get("transA") or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0:
        return None
    inputs = graphs.input_names(node)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return WeightedLayer(
        name=str(node.name),
        operator=node.op_type,
        input=inputs[0],
        output=graphs.output_names(node)[0],
        weight=inputs[1],
        bias=inputs[2] if bias is not None and len(bias.uses()) == 1 else "",
        axis=0 if node.op_type == "Conv" or settings.get("transB") else rank - 1,
        groups=int(settings.get("group", 1)),
    )


def read_weight(model: ir.Model, name: str) -> np.ndarray:
    """A writable copy of an initializer.

    Raises:
        KeyError: There is no initializer of that name.
    """
    return np.array(graphs.constant(model.graph.initializers[name]))


def with_own_biases(model: ir.Model) -> ir.Model:
    """The network with a separate bias for each Conv and Gemm, so that a pass can change the bias of one layer.

    A file may store equal biases of several layers once.
    """
    biased = [node for node in model.graph if node.op_type in ("Conv", "Gemm") and len(node.inputs) > 2]
    if all(node.inputs[2] is None or len(node.inputs[2].uses()) == 1 for node in biased):
        return model
    copy = model.clone()
    for node in copy.graph:
        bias = node.inputs[2] if node.op_type in ("Conv", "Gemm") and len(node.inputs) > 2 else None
        values = graphs.constant(bias)
        if bias is not None and values is not None and len(bias.uses()) > 1:
            node.replace_input_with(2, graphs.add_initializer(copy, f"{node.name}.own_bias", values))
    return copy


def with_biases(model: ir.Model, layers: Iterable[WeightedLayer]) -> ir.Model:
    """A copy in which each convolution or Gemm of `layers` has a bias, zero if new. A MatMul has no bias input."""
    copy = model.clone()
    without = {layer.name: layer for layer in layers if not layer.bias and layer.operator != "MatMul"}
    for node in copy.graph:
        layer = without.get(str(node.name))
        if layer is None or len(node.inputs) > 2:
            continue
        channels = read_weight(model, layer.weight).shape[layer.axis]
        node.resize_inputs(3)
        node.replace_input_with(2, graphs.add_initializer(copy, f"{node.name}.bias_added", np.zeros(channels, np.float32)))
    return copy
