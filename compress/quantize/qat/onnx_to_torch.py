"""Convert an ONNX network, or a part of it, to a torch module with gradients for quantization.

Learned scales must be written back into the graph that a runtime reads. So that graph itself is converted: its batch norms are
folded or frozen, its Q/DQ pairs are those of the runtime, and weights are written back by the names of their initializers.

Layers become submodules, and each Q/DQ pair a `FakeQuantize`; pairs with the same scale tensor share one module. Other
operators come from `backends.torch_operators`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from compress.backends import onnx_graph as graphs
from compress.backends.graph_module import LAYER, GraphModule, GraphStep, without_counterpart
from compress.backends.torch_operators.run_operator import OPERATORS
from compress.backends.torch_operators.values import Attributes
from compress.core.errors import ConversionError
from compress.quantize.ptq.weighted_layers import WeightedLayer
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.graph_layers import ConvLayer, MatMulLayer
from compress.quantize.qdq.placement import UNIT_RANGE

FAKE_QUANTIZE = "FakeQuantize"
"""Operator of a step that applies fake quantization."""


def module_key(name: str) -> str:
    """Key of a submodule, in which dots are not allowed."""
    return str(name).replace(".", "/")


class OnnxModule(GraphModule):
    """A graph as torch module, built by `to_torch`.

    Attributes:
        layers: Layers by `module_key` of the node.
        quantizers: Fake quantization of activations by `module_key` of the scale.
    """

    def __init__(
        self, steps: Sequence[GraphStep], layers: Mapping[str, nn.Module], quantizers: Mapping[str, nn.Module],
        constants: Mapping[str, np.ndarray], starts: Sequence[str], stops: Sequence[str],
    ) -> None:  # fmt: skip
        super().__init__(steps, constants, starts, stops)
        self.layers, self.quantizers = nn.ModuleDict(layers), nn.ModuleDict(quantizers)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs of the graph, computed in float32."""
        # no autocast: bfloat16 has fewer significant bits than int8 values need
        with torch.autocast(inputs[0].device.type, enabled=False):
            return super().forward(*inputs)

    def submodule(self, step: GraphStep) -> nn.Module | None:
        """The layer or the fake quantization of a step; None for an operator."""
        if step.operator == FAKE_QUANTIZE:
            return self.quantizers[step.key]
        return self.layers[step.key] if step.operator == LAYER else None


@dataclass(frozen=True)
class GraphPart:
    """A part of a network with one input and one output.

    Attributes:
        nodes: Nodes in graph order.
        start: Input tensor; empty for the inputs of the network.
        stop: Output tensor; empty for the outputs of the network.
    """

    nodes: tuple[ir.Node, ...]
    start: str = ""
    stop: str = ""


def to_torch(
    model: ir.Model,
    layers: Mapping[str, WeightedLayer],
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    limits: tuple[int, int] = (-127, 127),
    learned: bool = True,
    part: GraphPart | None = None,
) -> OnnxModule:
    """Convert a network, or a part of it, to a torch module in eval mode.

    Args:
        model: Float network, or network with Q/DQ pairs.
        layers: Layers whose weights and biases are parameters, by name of the node; everything else is frozen.
        weights: Float weights of layers with integer weights, by initializer.
        limits: Smallest and largest integer of weights.
        learned: Whether the scales of Q/DQ pairs are trained.
        part: Part to convert; None for the whole network.

    Raises:
        ConversionError: An operator has no torch equivalent here; the message names it.
    """
    builder = _Builder(model, layers, weights or {}, limits, learned=learned)
    part = part or GraphPart(tuple(model.graph))
    steps = [step for node in part.nodes if (step := builder.add(node)) is not None]
    read = {name for step in steps for name in step.inputs}
    constants = {name: array for name, array in builder.arrays.items() if name in read}
    starts, stops = ([str(value.name) for value in values] for values in (model.graph.inputs, model.graph.outputs))
    ends = [part.start] if part.start else starts, [part.stop] if part.stop else stops
    return OnnxModule(steps, builder.layers, builder.quantizers, constants, *ends).eval()


class _Builder:
    """Converts nodes to steps and submodules."""

    def __init__(
        self, model: ir.Model, layers: Mapping[str, WeightedLayer], weights: Mapping[str, np.ndarray],
        limits: tuple[int, int], *, learned: bool,
    ) -> None:  # fmt: skip
        self.known, self.weights, self.limits, self.learned = layers, weights, limits, learned
        self.arrays = {name: np.asarray(graphs.constant(value)) for name, value in model.graph.initializers.items()}
        self.layers: dict[str, nn.Module] = {}
        self.quantizers: dict[str, nn.Module] = {}

    def add(self, node: ir.Node) -> GraphStep | None:
        """Convert one node to a step; None for a node that only computes a constant."""
        inputs, attributes = graphs.input_names(node), Attributes.of(node)
        step = GraphStep(node.op_type, inputs, graphs.output_names(node), attributes, str(node.name))
        if node.op_type == "QuantizeLinear":
            return replace(step, operator=FAKE_QUANTIZE, inputs=inputs[:1], key=self._add_quantizer(node))
        if node.op_type == "DequantizeLinear":
            if inputs[0] not in self.arrays:
                return replace(step, operator="Identity", inputs=inputs[:1])
            self.arrays[step.outputs[0]] = self._dequantize(inputs, attributes)
            return None
        layer = self.known.get(str(node.name))
        if layer is not None and layer.operator == node.op_type and inputs[1] in self.arrays:
            return replace(step, operator=LAYER, inputs=inputs[:1], key=self._add_layer(node, layer, attributes))
        if node.op_type not in OPERATORS:
            raise ConversionError(without_counterpart(node.op_type, str(node.name)))
        return step

    def _add_quantizer(self, node: ir.Node) -> str:
        _, scale, zero_point = graphs.input_names(node)
        key = module_key(scale)
        if key not in self.quantizers:
            s, z = self.arrays[scale], self.arrays[zero_point]
            limits = np.iinfo(z.dtype)
            low, high = int(limits.min) - int(z), int(limits.max) - int(z)
            producer = None if node.inputs[0] is None else node.inputs[0].producer()
            learned = self.learned and (producer is None or producer.op_type not in UNIT_RANGE)
            self.quantizers[key] = FakeQuantize(torch.tensor(float(s)), low, high, batched=True, learned=learned)
        return key

    def _add_layer(self, node: ir.Node, layer: WeightedLayer, attributes: Attributes) -> str:
        inputs = graphs.input_names(node)
        weight, bias = self.arrays[inputs[1]], self.arrays[inputs[2]] if len(inputs) > 2 else None
        quantizer: nn.Module = nn.Identity()
        dequantize = None if node.inputs[1] is None else node.inputs[1].producer()
        if dequantize is not None and dequantize.op_type == "DequantizeLinear":
            weight = self.weights[layer.weight]
            s = torch.from_numpy(np.array(self.arrays[graphs.input_names(dequantize)[1]], np.float32))
            axis = layer.axis if s.numel() > 1 else None
            quantizer = FakeQuantize(s if axis is not None else s.reshape(()), *self.limits, axis=axis, learned=self.learned)
        build = ConvLayer if node.op_type == "Conv" else MatMulLayer
        module = build(_to_float(weight), None if bias is None else _to_float(bias), attributes, quantizer)
        if module.bias is not None:
            module.bias.requires_grad_(bool(layer.bias))
        key = module_key(layer.name)
        self.layers[key] = module
        return key

    def _dequantize(self, inputs: tuple[str, ...], attributes: Attributes) -> np.ndarray:
        q, s = (self.arrays[name] for name in inputs[:2])
        z = self.arrays[inputs[2]] if len(inputs) > 2 else np.zeros((), q.dtype)
        if s.size > 1:
            axis = attributes.integer("axis", 1) % q.ndim
            shape = [-1 if dimension == axis else 1 for dimension in range(q.ndim)]
            s, z = s.reshape(shape), np.broadcast_to(z, s.shape).reshape(shape)
        values: np.ndarray = (q.astype(np.float32) - z.astype(np.float32)) * s
        return values


def _to_float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
