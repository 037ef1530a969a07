"""A float network and the one that it is rounded to, run side by side from one layer to the next.

    images ─► nodes before layer 1 ─► layer 1 ─► nodes between ─► layer 2 ─► …      once with W, once with what became of W

At each layer the inputs of both networks are at hand, x and x̂; what the caller puts in place of its weight and bias is what the
second computes with from there on. Every node runs once in each network, so that learning from the rounded one's own inputs
costs two runs and not one for each layer. Between two layers only tensors are kept that are still to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx.helper import make_graph, make_model, make_tensor_value_info, np_dtype_to_tensor_dtype

from compress.backends import onnx_graph as graphs
from compress.quantize.calibration.observe import with_outputs
from compress.quantize.ptq.weighted_layers import WeightedLayer

KEPT_BYTES = 2**30
"""Of both networks' tensors between two layers; it decides how many images are used."""
LEAST = 16
"""Images that are used in any case."""

Tensors = dict[str, np.ndarray]


class SequentialRunner:
    """One walk over a network.

    Args:
        model: Float network, nodes in an order that they can run in.
        layers: Where to stop, in graph order.
        batches: Inputs, (N, C, H, W) each.
        kept_bytes: Take only as many images as keep the tensors between layers under this.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        layers: Sequence[WeightedLayer],
        batches: Sequence[np.ndarray],
        *,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.model, self.layers = model, layers
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        places = {node.name: number for number, node in enumerate(model.graph.node)}
        self.starts = [places[layer.name] for layer in layers]
        given = model.graph.input[0].name
        self.float_tensors: list[Tensors] = [{given: batch} for batch in self._affordable(batches, kept_bytes)]
        self.quantized_tensors: list[Tensors] = [dict(one) for one in self.float_tensors]
        self.changed: dict[str, np.ndarray] = {}

    @property
    def images(self) -> int:
        """How many are used."""
        return sum(len(next(iter(one.values()))) for one in self.float_tensors)

    def __iter__(self) -> Iterator[tuple[WeightedLayer, list[np.ndarray], list[np.ndarray]]]:
        """Each layer with its inputs in the float network and in the rounded one, batch by batch."""
        place = 0
        for layer, start in zip(self.layers, self.starts, strict=True):
            self._run(range(place, start))
            place = start
            yield layer, [one[layer.input] for one in self.float_tensors], [one[layer.input] for one in self.quantized_tensors]

    def node(self, layer: WeightedLayer) -> onnx.NodeProto:
        """Its node."""
        return self.model.graph.node[self.starts[self.layers.index(layer)]]

    def set_weights(self, values: Mapping[str, np.ndarray]) -> None:
        """What the rounded network has in place of some weights and biases."""
        self.changed |= values

    def _run(self, numbers: range) -> None:
        """Some nodes in both networks; tensors that nothing reads any more are dropped."""
        if not numbers:
            return
        nodes = [self.model.graph.node[number] for number in numbers]
        later = {name for node in self.model.graph.node[numbers.stop :] for name in node.input}
        made = {name for node in nodes for name in node.output}
        wanted = [name for name in dict.fromkeys(name for node in nodes for name in node.output) if name in later]
        same = not self.changed
        for tensors, changed in ((self.float_tensors, {}), (self.quantized_tensors, self.changed)):
            if tensors is self.quantized_tensors and same:
                self.quantized_tensors = [dict(one) for one in self.float_tensors]
                continue
            runner = self._session(nodes, made, wanted, tensors[0], changed)
            names = [one.name for one in runner.get_inputs()]
            for one in tensors:
                results = runner.run(wanted, {name: one[name] for name in names})
                for name in [name for name in one if name not in later]:
                    del one[name]
                one |= zip(wanted, results, strict=True)

    def _session(
        self,
        nodes: list[onnx.NodeProto],
        made: set[str],
        wanted: list[str],
        tensors: Tensors,
        changed: Mapping[str, np.ndarray],
    ) -> onnxruntime.InferenceSession:
        read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in made)
        constants = [
            onnx.numpy_helper.from_array(changed[name], name) if name in changed else self.constants[name]
            for name in read
            if name in self.constants
        ]
        inputs = [
            make_tensor_value_info(name, np_dtype_to_tensor_dtype(tensors[name].dtype), [None] * tensors[name].ndim)
            for name in read
            if name not in self.constants
        ]
        graph = make_graph(nodes, "part", inputs, [onnx.ValueInfoProto(name=name) for name in wanted], constants)
        part = make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        return graphs.create_session(part, threads=0)

    def _affordable(self, batches: Sequence[np.ndarray], kept_bytes: int) -> list[np.ndarray]:
        """As many batches as the bytes allow, spread over all."""
        each = self._bytes_of_one(batches[0][:1]) * 2
        most = max(LEAST, kept_bytes // max(each, 1))
        count = min(len(batches), max(1, -(-most // len(batches[0]))))
        return [batches[number * len(batches) // count] for number in range(count)]

    def _bytes_of_one(self, image: np.ndarray) -> int:
        """Largest sum of tensors between two layers, of one image."""
        given = self.model.graph.input[0].name
        names = [name for node in self.model.graph.node for name in node.output if name]
        runner = graphs.create_session(with_outputs(self.model, names), optimised=False, threads=0)
        fixed = runner.get_inputs()[0].shape[0]
        batch = np.repeat(image, fixed, axis=0) if isinstance(fixed, int) else image
        sizes: dict[str, int] = {given: image.nbytes}
        for name, value in zip(names, runner.run(names, {given: batch}), strict=True):
            sizes[name] = value.nbytes // len(batch)
        last = {name: number for number, node in enumerate(self.model.graph.node) for name in node.input}
        first = {name: number for number, node in enumerate(self.model.graph.node) for name in node.output} | {given: -1}
        return max(
            sum(size for name, size in sizes.items() if first[name] < start <= last.get(name, -1)) for start in self.starts
        )
