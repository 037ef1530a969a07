"""SmoothQuant for convolutional networks: rescale the channels of a residual stream in all its tensors at once.

Convolutions write and read X, (N, C, H, W), and every operator between them commutes with a positive factor: residual sums,
ReLU, pools, the product with a squeeze-excite gate. With any s > 0, (C,), the outputs of all producers are divided by s and the
inputs of all readers multiplied,

    Y = W ∗ Σ_l f(W_l ∗ x_l + b_l) = (W diag(s)) ∗ Σ_l f(diag(s)⁻¹ W_l ∗ x_l + diag(s)⁻¹ b_l)

with s_j = max |X_j|^α / max |W_j|^(1−α) of SmoothQuant (`smoothquant`) over all tensors of a stream and the weights of all its
readers. This is cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721) across sums, with ranges from data: a channel of
a residual stream has the same factor in all its blocks. If any other operator writes or reads one of these tensors, no factor
can be moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from scipy.cluster.hierarchy import DisjointSet

from compress.backends import onnx_graph as graphs
from compress.backends.runner_protocol import Feeds
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.quantize.ptq.cross_layer_equalization import divide_outputs, multiply_inputs, rows_by_input
from compress.quantize.ptq.pipeline import PassInputs, PassResult
from compress.quantize.ptq.smoothquant import channel_absmax, range_ratio, smooth_linear_inputs, smoothing_factors
from compress.quantize.ptq.weighted_layers import WeightedLayer, read_weight, weighted_layers

PASSING = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Dropout")
"""Operators f with f(x / s) = f(x) / s for each channel."""
RESHAPING = ("Reshape", "Flatten", "Squeeze")
"""Operators with the same property if they reshape (N, C, 1, 1) to (N, C)."""


@dataclass(frozen=True)
class ResidualStream:
    """Tensors that share their factors.

    Attributes:
        tensors: Tensors that an operator other than a ReLU reads, in graph order, because runtimes quantize these. A
            convolution writes or reads at least one; `smooth_linear_inputs` handles tensors between matrix products only.
        producers: Layers whose outputs are divided.
        readers: Layers whose inputs are multiplied.
        channels: C.
    """

    tensors: tuple[str, ...]
    producers: tuple[WeightedLayer, ...]
    readers: tuple[WeightedLayer, ...]
    channels: int


def smooth_network(model: ir.Model, inputs: PassInputs) -> PassResult:
    """Pass `smooth`: smooth inputs of linear layers, then residual streams of convolutional networks; the setting is α."""
    alpha, exclude, reporter = inputs.setting, inputs.exclude, inputs.reporter
    linear = smooth_linear_inputs(model, inputs.batches, alpha, exclude=exclude, reporter=reporter)
    streams, smoothed = smooth_residual_streams(linear.model, inputs.batches, alpha, exclude=exclude, reporter=reporter)
    skipped = tuple(fact for fact in linear.skipped if fact.subject not in smoothed)
    return PassResult(streams.model, skipped, (*linear.notes, *streams.notes))


def smooth_residual_streams(
    model: ir.Model, batches: Sequence[Feeds], alpha: float, *, exclude: Sequence[str], reporter: Reporter
) -> tuple[PassResult, frozenset[str]]:
    """Smooth every residual stream.

    Args:
        model: Float network; not changed.
        batches: Calibration batches by name of the input.
        alpha: α.
        exclude: Names of nodes that stay in float; a stream that only they read is not smoothed.
        reporter: Shows a progress bar.

    Returns:
        The result, and the names of the layers that read smoothed tensors.
    """
    streams = [stream for stream in find_streams(model) if any(layer.name not in exclude for layer in stream.readers)]
    if not streams:
        return PassResult(model), frozenset()
    absmax = channel_absmax(model, [name for stream in streams for name in stream.tensors], batches, reporter, axis=1)
    layers = [layer for stream in streams for layer in (*stream.producers, *stream.readers)]
    weights = {name: read_weight(model, name) for layer in layers for name in (layer.weight, layer.bias) if name}
    before, after = [], []
    for stream in streams:
        x = np.max([absmax[name] for name in stream.tensors], axis=0)
        w = np.max([np.abs(rows_by_input(weights[layer.weight], layer)).max(1) for layer in stream.readers], axis=0)
        s = smoothing_factors(x, w, alpha)
        for layer in stream.producers:
            divide_outputs(weights, layer, s)
        for layer in stream.readers:
            multiply_inputs(weights, layer, s)
        before.append(range_ratio(x))
        after.append(range_ratio(x / s))
    readers = frozenset(layer.name for stream in streams for layer in stream.readers)
    note = Fact.of(
        "quantize_ptq.streams_smoothed",
        alpha=alpha,
        layers=len(readers),
        streams=len(streams),
        ratio_before=float(np.median(before)),
        ratio_after=float(np.median(after)),
    )
    return PassResult(graphs.with_initializers(model, weights), notes=(note,)), readers


def find_streams(model: ir.Model) -> tuple[ResidualStream, ...]:
    """Residual streams of a network, in graph order."""
    finder = _StreamFinder(graphs.with_shapes(model))
    for node in finder.model.graph:
        finder.visit(node)
    return finder.streams()


class _StreamFinder:
    """Merges tensors that share their factors into sets; the set of the empty name contains tensors that have no factor."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.layers = {layer.name: layer for layer in weighted_layers(model) if layer.operator != "MatMul"}
        self.sets = DisjointSet([""])
        self.read: dict[str, None] = {}
        self.producers: list[WeightedLayer] = []
        self.readers: list[WeightedLayer] = []
        for value in (*model.graph.inputs, *model.graph.outputs):
            self._close(str(value.name))

    def visit(self, node: ir.Node) -> None:
        """Merge the tensors of a node with each other, or with the empty name if they can have no factor."""
        computed = [value for value in node.inputs if value is not None and value.name and not value.is_initializer()]
        names = [str(value.name) for value in computed]
        if node.op_type != "Relu":
            self.read.update(dict.fromkeys(names))
        layer = self.layers.get(str(node.name))
        if layer is not None and names == [layer.input]:
            self.readers.append(layer)
            if layer.bias or len(node.inputs) < 3:
                self.producers.append(layer)
            else:
                self._close(layer.output)
        elif passing := _inputs_passed_on(node, computed):
            for name in passing:
                self._join(name, graphs.output_names(node)[0])
            for name in set(names) - set(passing):
                self._close(name)
        else:
            for name in (*names, *graphs.output_names(node)):
                self._close(name)

    def streams(self) -> tuple[ResidualStream, ...]:
        """Streams of the sets that do not contain the empty name."""
        roots = dict.fromkeys(self._root(name) for name in self.read)
        streams = []
        for root in roots:
            producers = tuple(layer for layer in self.producers if self._root(layer.output) == root)
            readers = tuple(layer for layer in self.readers if self._root(layer.input) == root)
            operators = {layer.operator for layer in (*producers, *readers)}
            if root != self._root("") and producers and readers and "Conv" in operators:
                tensors = tuple(name for name in self.read if self._root(name) == root)
                shape = graphs.dims(graphs.find_value(self.model, readers[0].input)) or [0, 0]
                streams.append(ResidualStream(tensors, producers, readers, shape[1]))
        return tuple(streams)

    def _close(self, name: str) -> None:
        self._join(name, "")

    def _join(self, first: str, second: str) -> None:
        self.sets.add(first)
        self.sets.add(second)
        self.sets.merge(first, second)

    def _root(self, name: str) -> str:
        self.sets.add(name)
        return str(self.sets[name])


def _inputs_passed_on(node: ir.Node, computed: Sequence[ir.Value]) -> list[str]:
    """Names of the inputs whose factors a node passes to its output."""
    names = [str(value.name) for value in computed]
    shapes = [graphs.dims(value) or [] for value in (*computed, node.outputs[0])]
    ranks = [len(shape) for shape in shapes]
    if node.op_type in PASSING:
        return names
    if node.op_type in RESHAPING and ranks == [4, 2]:
        return names if shapes[0][1:] == [shapes[1][1], 1, 1] else []
    if node.op_type == "ReduceMean" and ranks in ([4, 4], [4, 2]):
        axes = graphs.attributes(node).get("axes")
        if axes is None and len(node.inputs) > 1:
            axes = graphs.constant(node.inputs[1])
        return names if sorted(int(axis) % 4 for axis in np.ravel([] if axes is None else axes)) == [2, 3] else []
    if node.op_type == "Add" and len(names) == len(node.inputs) and ranks[0] in (2, 4):
        return names if all(shape == shapes[0] for shape in shapes) else []
    if node.op_type == "Mul" and len(names) == 2 and ranks == [4, 4, 4]:
        gates = [name for name, shape in zip(names, shapes, strict=False) if shape[2:] == [1, 1]]
        return [name for name in names if name not in gates] if len(gates) == 1 else []
    return []
