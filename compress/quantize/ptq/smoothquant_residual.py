"""Streams of a convolutional network: tensors of which a channel can be rescaled everywhere at once, the function kept.

A convolution makes X, (N, C, H, W), and others read it, with nothing on the way that a positive factor does not pass through:
residual sums, ReLU, pools, the product with a squeeze-excite gate. With any s > 0, (C,), all makers' outputs are divided
by s and all readers' inputs multiplied,

    Y = W ∗ Σ_l f(W_l ∗ x_l + b_l) = (W diag(s)) ∗ Σ_l f(diag(s)⁻¹ W_l ∗ x_l + diag(s)⁻¹ b_l)

with s_j = max |X_j|^α / max |W_j|^(1−α) of SmoothQuant (`smooth`) over all tensors of a stream and all its readers' weights.
It is cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721) through sums as well: a channel of a residual stream has
one factor in all its blocks, and ranges come from data. Where anything else makes or reads one of these tensors, no factor can
be moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from compress.core.progress import Reporter
from compress.quantize.ptq.cross_layer_equalization import by_input, divide_outputs, multiply_inputs
from compress.quantize.ptq.smoothquant import channel_absmax, range_ratio, smoothing_factors
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers, with_weights

PASSING = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Dropout")
"""Operators f with f(x / s) = f(x) / s channel by channel."""
RESHAPING = ("Reshape", "Flatten", "Squeeze")
"""Likewise where one value of each channel is left: (N, C, 1, 1) becomes (N, C)."""


@dataclass(frozen=True)
class ResidualStream:
    """Tensors that share their factors.

    Attributes:
        tensors: Those that are read by anything but a ReLU, in graph order: what a runtime rounds. At least one convolution
            makes or reads them; products alone are `smooth`'s.
        makers: Layers whose outputs are divided.
        readers: Layers whose inputs are multiplied.
        channels: C.
    """

    tensors: tuple[str, ...]
    makers: tuple[WeightedLayer, ...]
    readers: tuple[WeightedLayer, ...]
    channels: int


def smooth_residual_streams(
    model: onnx.ModelProto, batches: Sequence[np.ndarray], alpha: float, *, exclude: Sequence[str], reporter: Reporter
) -> tuple[onnx.ModelProto, frozenset[str], str]:
    """Smooth every stream.

    Args:
        model: Float network; left as it was.
        batches: Calibration inputs, float32 (N, C, H, W) each.
        alpha: α.
        exclude: Names of nodes that stay in float; a stream that only they read is left alone.
        reporter: Shows a bar.

    Returns:
        A copy, the names of the layers that read smoothed tensors, and what was done in a sentence, empty for nothing.
    """
    found = [one for one in find_streams(model) if any(layer.name not in exclude for layer in one.readers)]
    if not found:
        return model, frozenset(), ""
    seen = channel_absmax(model, [name for one in found for name in one.tensors], batches, reporter, axis=1)
    names = {name for one in found for layer in (*one.makers, *one.readers) for name in (layer.weight, layer.bias) if name}
    values = {name: read_weight(model, name) for name in names}
    before, after = [], []
    for one in found:
        x = np.max([seen[name] for name in one.tensors], axis=0)
        w = np.max([np.abs(by_input(values[layer.weight], layer)).max(1) for layer in one.readers], axis=0)
        s = smoothing_factors(x, w, alpha)
        for layer in one.makers:
            divide_outputs(values, layer, s)
        for layer in one.readers:
            multiply_inputs(values, layer, s)
        before.append(range_ratio(x))
        after.append(range_ratio(x / s))
    through = frozenset(layer.name for one in found for layer in one.readers)
    note = (
        f"SmoothQuant (α = {alpha:g}): {len(through)} convolutional layers read {len(found)} smoothed streams; a channel's "
        f"range over the median channel's went from {np.median(before):.3g} to {np.median(after):.3g} (largest, median over "
        "streams)"
    )
    return with_weights(model, values), through, note


def find_streams(model: onnx.ModelProto) -> tuple[ResidualStream, ...]:
    """All streams of a network, in graph order."""
    walk = _Walk(model)
    for node in model.graph.node:
        walk.see(node)
    return walk.streams()


class _Walk:
    """Joins tensors that share their factors; those that can have none are joined with the empty name."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.layers = {layer.name: layer for layer in weighted_layers(model) if layer.operator != "MatMul"}
        self.constants = {tensor.name for tensor in graph.initializer}
        self.axes: Mapping[str, list[int]] = {t.name: list(onnx.numpy_helper.to_array(t).reshape(-1)) for t in graph.initializer
                                              if t.data_type == onnx.TensorProto.INT64}  # fmt: skip
        values = (*graph.input, *onnx.shape_inference.infer_shapes(model).graph.value_info, *graph.output)
        self.shapes = {v.name: [dim.dim_value for dim in v.type.tensor_type.shape.dim] for v in values}
        self.parent: dict[str, str] = {}
        self.rounded: dict[str, None] = {}
        self.makers: list[WeightedLayer] = []
        self.readers: list[WeightedLayer] = []
        for value in (*graph.input, *graph.output):
            self._close(value.name)

    def see(self, node: onnx.NodeProto) -> None:
        """What a node joins or closes."""
        given = [name for name in node.input if name and name not in self.constants]
        if node.op_type != "Relu":
            self.rounded.update(dict.fromkeys(given))
        layer = self.layers.get(node.name)
        if layer is not None and given == [layer.input]:
            self.readers.append(layer)
            if layer.bias or len(node.input) < 3:
                self.makers.append(layer)
            else:
                self._close(layer.output)
        elif passed := self._passed(node, given):
            for name in passed:
                self._join(name, node.output[0])
            for name in set(given) - set(passed):
                self._close(name)
        else:
            for name in (*given, *node.output):
                self._close(name)

    def _passed(self, node: onnx.NodeProto, given: list[str]) -> list[str]:
        """Inputs whose factors a node passes to its output."""
        shapes = [self.shapes.get(name, []) for name in (*given, node.output[0])]
        if node.op_type in PASSING:
            return given
        if node.op_type in RESHAPING and [len(one) for one in shapes] == [4, 2]:
            return given if shapes[0][1:] == [shapes[1][1], 1, 1] else []
        if node.op_type == "ReduceMean" and [len(one) for one in shapes] in ([4, 4], [4, 2]):
            axes = next((list(one.ints) for one in node.attribute if one.name == "axes"), None)
            axes = self.axes.get(node.input[1], []) if axes is None and len(node.input) > 1 else axes or []
            return given if sorted(axis % 4 for axis in axes) == [2, 3] else []
        if node.op_type == "Add" and len(given) == len(node.input) and len(shapes[0]) in (2, 4):
            return given if all(one == shapes[0] for one in shapes) else []
        if node.op_type == "Mul" and len(given) == 2 and [len(one) for one in shapes] == [4, 4, 4]:
            gates = [name for name, one in zip(given, shapes, strict=False) if one[2:] == [1, 1]]
            return [name for name in given if name not in gates] if len(gates) == 1 else []
        return []

    def streams(self) -> tuple[ResidualStream, ...]:
        """What is left open."""
        found: dict[str, ResidualStream] = {}
        for root in dict.fromkeys(self._root(name) for name in self.rounded):
            makers = tuple(layer for layer in self.makers if self._root(layer.output) == root)
            readers = tuple(layer for layer in self.readers if self._root(layer.input) == root)
            shared = {layer.operator for layer in (*makers, *readers)}
            if root != self._root("") and makers and readers and "Conv" in shared:
                tensors = tuple(name for name in self.rounded if self._root(name) == root)
                found[root] = ResidualStream(tensors, makers, readers, self.shapes[readers[0].input][1])
        return tuple(found.values())

    def _close(self, name: str) -> None:
        self._join(name, "")

    def _join(self, one: str, other: str) -> None:
        self.parent[self._root(one)] = self._root(other)

    def _root(self, name: str) -> str:
        while (above := self.parent.setdefault(name, name)) != name:
            name = above
        return name
