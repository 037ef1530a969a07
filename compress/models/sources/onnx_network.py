"""An ONNX network as a torch module that can be trained and pruned: layers where torch has them, functions elsewhere.

Constants that are no weights of a layer, such as a grid of anchors, stay as they are. A reshape to rows, and one with a batch
of 1, keep the batch free.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.backends.graph_module import LAYER, GraphModule, GraphStep
from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes
from compress.backends.trainable_operators import check_trainable
from compress.models.sources.onnx_layers import WEIGHT_INPUTS, ConstantInputs, add_bias, make_layer, tie_weights

PADDED = ("Conv", "ConvTranspose")


class OnnxNetwork(GraphModule):
    """An ONNX network whose layers are submodules, named after their nodes."""


def build_network(model: ir.Model, purpose: str) -> OnnxNetwork:
    """The network of a file in eval mode.

    Args:
        model: With a name for each node.
        purpose: What needs it, for messages: `prune`.

    Raises:
        ConversionError: An operator has no torch function here; operator and node are named.
    """
    check_trainable(model, purpose)
    builder = _NetworkBuilder(model)
    for node in model.graph:
        builder.add(node)
    return builder.build()


class _NetworkBuilder:
    """Translates nodes one after the other."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        shaped = graphs.with_shapes(model)
        self.shapes = {str(value.name): graphs.dims(value) for value in _values(shaped)}
        self.arrays = {name: _single(graphs.constant(value)) for name, value in model.graph.initializers.items()}
        self.steps: list[GraphStep] = []
        self.layers: dict[str, nn.Module] = {}
        self.tied: list[tuple[nn.Module, str]] = []
        self.producers: dict[str, str] = {}
        """Key of the layer without bias that writes a tensor which one node reads."""

    def add(self, node: ir.Node) -> None:
        """Add the step of one node; one that reads constants alone is computed now."""
        inputs, outputs, attributes = graphs.input_names(node), graphs.output_names(node), Attributes.of(node)
        step = GraphStep(node.op_type, inputs, outputs, attributes, str(node.name))
        if all(name in self.arrays for name in inputs if name) and node.op_type != "Dropout":
            self._fold(step)
            return
        if node.op_type in ("Reshape", "Resize"):
            step = self._with_free_batch(step)
        if node.op_type == "Add" and self._is_bias(step):
            return
        known = tuple(self.arrays.get(name) for name in inputs)
        computed = tuple(bool(name) and name not in self.arrays for name in inputs)
        rank = len(self.shapes.get(inputs[0]) or ())
        layer = make_layer(ConstantInputs(node.op_type, attributes, known, computed, rank))
        if layer is None:
            self.steps.append(step)
            return
        key = self._key(step)
        self.layers[key] = layer
        read = inputs[1] if node.op_type == "Gather" else inputs[0]
        weight = inputs[0] if node.op_type == "Gather" else inputs[1] if len(inputs) > 1 else ""
        if weight:
            self.tied.append((layer, weight))
        if len(node.outputs[0].uses()) == 1 and not node.outputs[0].is_graph_output():
            self.producers[outputs[0]] = key
        self.steps.append(GraphStep(LAYER, (read,), outputs, attributes, step.node, key))

    def build(self) -> OnnxNetwork:
        """The network of all steps."""
        tie_weights(self.tied)
        stops = [str(value.name) for value in self.model.graph.outputs]
        read = {name for step in self.steps for name in step.inputs} | set(stops)
        constants = {name: array for name, array in self.arrays.items() if name in read}
        trained = frozenset(
            step.inputs[index]
            for step in self.steps
            for index in WEIGHT_INPUTS.get(step.operator, ())
            if index < len(step.inputs) and step.inputs[index] in constants and constants[step.inputs[index]].dtype.kind == "f"
        )
        starts = [str(value.name) for value in self.model.graph.inputs if value.name not in self.model.graph.initializers]
        network = OnnxNetwork(self.steps, constants, starts, stops, trained)
        for key, layer in self.layers.items():
            _place(network, key, layer)
        return network.eval()

    def _fold(self, step: GraphStep) -> None:
        values = [None if not name else self._value(name) for name in step.inputs]
        with torch.no_grad():
            outputs = run_operator(step.operator, step.attributes, values)
        for name, value in zip(step.outputs, outputs, strict=False):
            self.arrays[name] = value.numpy() if isinstance(value, Tensor) else _single(value)

    def _value(self, name: str) -> Tensor | np.ndarray:
        array = self.arrays[name]
        return torch.from_numpy(np.array(array)) if array.dtype.kind == "f" else array

    def _with_free_batch(self, step: GraphStep) -> GraphStep:
        """A reshape or a resize that keeps samples apart whatever their number."""
        place = 1 if step.operator == "Reshape" else 3
        shape = self.arrays.get(step.inputs[place]) if place < len(step.inputs) else None
        before = self.shapes.get(step.inputs[0]) or []
        if shape is None or not before or shape.ndim != 1:
            return step
        sizes = shape.tolist()
        if step.operator == "Resize":
            if len(sizes) != len(before) or sizes[:2] != [1, before[1]] or before[0] != 1:
                return step
            name = f"{step.outputs[0]}_sizes"
            self.arrays[name] = np.array(sizes[2:])
            attributes = Attributes({**step.attributes.values, "axes": tuple(range(2, len(before)))})
            return GraphStep("Resize", (step.inputs[0], "", "", name), step.outputs, attributes, step.node)
        if len(sizes) == 2 and 0 not in before[1:] and sizes[1] == prod(before[1:]) and len(before) > 2:
            return GraphStep("Flatten", step.inputs[:1], step.outputs, Attributes({"axis": 1}), step.node)
        if sizes and sizes[0] == 1 and before[0] == 1 and len(sizes) > 1:
            name = f"{step.outputs[0]}_shape"
            self.arrays[name] = np.array([0, *sizes[1:]])
            return GraphStep("Reshape", (step.inputs[0], name), step.outputs, Attributes({}), step.node)
        return step

    def _is_bias(self, step: GraphStep) -> bool:
        """Take a constant that is added to the output of a layer as its bias."""
        constants = [name for name in step.inputs if name in self.arrays]
        computed = [name for name in step.inputs if name in self.producers]
        if len(constants) != 1 or len(computed) != 1:
            return False
        if not add_bias(self.layers[self.producers[computed[0]]], self.arrays[constants[0]]):
            return False
        self.steps.append(GraphStep("Identity", (computed[0],), step.outputs, Attributes({}), step.node))
        return True

    def _key(self, step: GraphStep) -> str:
        """Name of a submodule: the path of the node, without the operator at its end."""
        parts = [part for part in step.node.replace("/", ".").replace(":", "_").split(".") if part]
        if len(parts) > 1 and parts[-1] == step.operator:
            parts = parts[:-1]
        key = ".".join(parts)
        used = set(self.layers)
        while key in used or any(other.startswith(f"{key}.") or key.startswith(f"{other}.") for other in used):
            key = f"{key}_" if key not in used else f"{key}_{step.operator.lower()}"
            key = key.replace(".", "_") if any(key.startswith(f"{other}.") for other in used) else key
        return key


def _values(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.inputs
    for node in model.graph:
        yield from node.outputs


def _single(array: np.ndarray | None) -> np.ndarray:
    """A constant; floats of any precision as float32."""
    values = np.asarray(array)
    return values if values.dtype.kind in "iub" else values.astype(np.float32)


def _place(network: nn.Module, key: str, layer: nn.Module) -> None:
    """Add a submodule by its path; containers are made on the way."""
    *path, leaf = key.split(".")
    owner = network
    for part in path:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    owner.add_module(leaf, layer)
