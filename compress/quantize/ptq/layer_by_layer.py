"""Run a float network and its partly quantized copy layer by layer, each node once.

    images ─► nodes before layer 1 ─► layer 1 ─► nodes between ─► layer 2 ─► …      once with W, once with quantized weights

Each iteration stops before a layer and yields its inputs in both networks, x and x̂. The caller then sets the quantized weights
and biases of the layer. Only tensors that a later node reads are kept between two layers, and only weights that a later node
reads: no more of the network is run at a time than the nodes between two layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.feeds import feeds_size
from compress.backends.runner_protocol import Feeds
from compress.quantize.ptq.weighted_layers import WeightedLayer

HELD_BYTES = 2**30
"""Limit of the bytes of both networks' tensors between two layers; it determines how many images are used."""
LEAST_IMAGES = 16
"""Images that are used even if they exceed the limit."""

Tensors = dict[str, np.ndarray]


class SequentialRunner:
    """Runs both networks from layer to layer; iterate over it once.

    Args:
        model: Float network, nodes in topological order.
        layers: Layers to stop at, in graph order.
        batches: Batches of inputs by name.
        held_bytes: Limit of the bytes of tensors between layers; fewer images are used to meet it.

    Attributes:
        images: Number of samples that are used.
    """

    def __init__(
        self,
        model: ir.Model,
        layers: Sequence[WeightedLayer],
        batches: Sequence[Feeds],
        *,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self.model, self.layers = model, layers
        self.nodes = list(model.graph)
        self.position = {node: index for index, node in enumerate(self.nodes)}
        self.values = ir.convenience.create_value_mapping(model.graph)
        by_name = {node.name: index for index, node in enumerate(self.nodes)}
        self.starts = [by_name[layer.name] for layer in layers]
        self.constants = set(model.graph.initializers)
        self.last_use = {name: self._last_use(value) for name, value in model.graph.initializers.items()}
        selection = self._select_batches(batches, held_bytes)
        self.images = sum(map(feeds_size, selection))
        self.float_tensors: list[Tensors] = [dict(batch) for batch in selection]
        self.quantized_tensors: list[Tensors] = [dict(tensors) for tensors in self.float_tensors]
        self.changed: dict[str, np.ndarray] = {}
        self.differs = False

    def __iter__(self) -> Iterator[tuple[WeightedLayer, list[np.ndarray], list[np.ndarray]]]:
        """Each layer with its inputs in the float network and in the quantized network, by batch."""
        first = 0
        for layer, start in zip(self.layers, self.starts, strict=True):
            self._run(first, start)
            first = start
            inputs = [tensors[layer.input] for tensors in self.float_tensors]
            yield layer, inputs, [tensors[layer.input] for tensors in self.quantized_tensors]

    def node(self, layer: WeightedLayer) -> ir.Node:
        """The node of a layer."""
        return self.nodes[self.starts[self.layers.index(layer)]]

    def set_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set weights and biases of the quantized network, by initializer; they are kept until their last use."""
        self.changed |= arrays
        self.differs = True

    def _run(self, first: int, stop: int) -> None:
        """Run nodes `first` to `stop` in both networks and delete tensors that no later node reads."""
        self._advance(self.float_tensors, first, stop, {})
        if self.differs:
            self._advance(self.quantized_tensors, first, stop, self.changed)
        else:
            self.quantized_tensors = [dict(tensors) for tensors in self.float_tensors]
        self.changed = {name: array for name, array in self.changed.items() if self.last_use.get(name, -1) >= stop}

    def _advance(self, tensors_of_batches: list[Tensors], first: int, stop: int, changed: Mapping[str, np.ndarray]) -> None:
        """Run nodes `first` to `stop` on the tensors of each batch, in place."""
        outputs = [
            str(value.name) for node in self.nodes[first:stop] for value in node.outputs if self._last_use(value) >= stop
        ]
        if not outputs:  # no node between the layers, or only nodes of the network's outputs
            return
        session = self._session(first, stop, outputs, tensors_of_batches[0], changed)
        names = [entry.name for entry in session.get_inputs()]
        for tensors in tensors_of_batches:
            results = session.run(outputs, {name: tensors[name] for name in names})
            for name in [name for name in tensors if self._last_use(self.values[name]) < stop]:
                del tensors[name]
            tensors |= zip(outputs, results, strict=True)

    def _last_use(self, value: ir.Value) -> int:
        """Index of the last node that reads a tensor; -1 if no node does."""
        return max((self.position.get(node, -1) for node in value.consumers()), default=-1)

    def _session(
        self, first: int, stop: int, outputs: Sequence[str], tensors: Tensors, changed: Mapping[str, np.ndarray]
    ) -> onnxruntime.InferenceSession:
        """A session of nodes `first` to `stop` as a separate network."""
        nodes = self.nodes[first:stop]
        produced = {name for node in nodes for name in graphs.output_names(node)}
        read = dict.fromkeys(name for node in nodes for name in graphs.input_names(node) if name)
        inputs = [name for name in read if name not in produced and name not in self.constants]
        part = ir.Model(ir.convenience.extract(self.model.graph, inputs, outputs), ir_version=self.model.ir_version)
        for value in part.graph.inputs:
            array = tensors[str(value.name)]
            value.dtype, value.shape = ir.DataType.from_numpy(array.dtype), ir.Shape([None] * array.ndim)
        return onnx_session.create_session(graphs.with_initializers(part, changed), threads=0)

    def _select_batches(self, batches: Sequence[Feeds], held_bytes: int) -> list[Feeds]:
        """Evenly spaced batches, as many as the limit allows."""
        bytes_per_image = self._bytes_per_image(batches[0]) * 2
        images = max(LEAST_IMAGES, held_bytes // max(bytes_per_image, 1))
        count = min(len(batches), max(1, -(-images // feeds_size(batches[0]))))
        return [batches[index * len(batches) // count] for index in range(count)]

    def _bytes_per_image(self, batch: Feeds) -> int:
        """Largest sum of the bytes of tensors between two layers, for one image of a batch, from a run layer by layer."""
        held, first, largest = [dict(batch)], 0, 0
        for start in self.starts:
            self._advance(held, first, start, {})
            first = start
            largest = max(largest, sum(array.nbytes for array in held[0].values()))
        return largest // feeds_size(batch)
