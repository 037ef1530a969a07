"""An ONNX network, or a part of one, as a torch module: the same outputs, with gradients.

Learning the scales of quantization needs gradients, and what is learned must go back into the graph that a runtime reads. So
that graph itself becomes a module: batch norms are folded and their statistics frozen as the exporter left them, Q/DQ pairs
stand where the runtime wants them, and weights go back by the names of their initializers.

Layers are submodules; other operators come from `onnx_operators`. Each Q/DQ pair is one `FakeQuantize`; pairs that use the same
scale tensor share one module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx.helper import get_attribute_value
from onnx.numpy_helper import to_array
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.errors import ConversionError
from compress.quantize.ptq.weighted_layers import WeightedLayer
from compress.quantize.qat.fake_quantize import FakeQuantize
from compress.quantize.qat.onnx_operators import OPERATORS, Attributes, padded
from compress.quantize.qdq.placement import UNIT_RANGE


class ConvLayer(nn.Conv2d):
    """A convolution whose weights go through `rounder`; weight and bias as the graph stores them."""

    def __init__(self, weight: Tensor, bias: Tensor | None, given: Attributes, rounder: nn.Module) -> None:
        groups, (outputs, inputs, *size) = int(given.get("group", 1)), weight.shape
        stride, dilation = (tuple(given.get(name, (1, 1))) for name in ("strides", "dilations"))
        super().__init__(inputs * groups, outputs, tuple(size), stride, 0, dilation, groups, bias is not None)  # type: ignore[arg-type]
        self.around, self.rounder = {name: given[name] for name in ("pads", "auto_pad") if name in given}, rounder
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """The layer's output."""
        found: Tensor = self._conv_forward(padded(input, self.around, 2), self.rounder(self.weight), self.bias)
        return found


class MatMulLayer(nn.Module):
    """A matrix product with a constant, whose weights go through `rounder`.

    Args:
        weight: As the graph stores it.
        bias: To add.
        given: Attributes; with `transB` the weight is (K, D), else (…, D, K).
        rounder: Its rounding.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, given: Attributes, rounder: nn.Module) -> None:
        super().__init__()
        self.turned, self.rounder = bool(given.get("transB")), rounder
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        w = self.rounder(self.weight)
        y = F.linear(x, w) if self.turned else x @ w
        return y if self.bias is None else y + self.bias


@dataclass(frozen=True)
class GraphStep:
    """One node.

    Attributes:
        operator: Its type; `Layer` and `Round` are submodules.
        inputs: What it reads.
        outputs: What it gives.
        given: Its attributes.
        key: Of the submodule.
        done: Tensors that no later step reads.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    given: Attributes
    key: str = ""
    done: tuple[str, ...] = ()


def module_key(name: str) -> str:
    """Name of a submodule, which has no dots."""
    return str(name).replace(".", "/")


class GraphConstants(nn.Module):
    """Constants by name: floats move with the network, shapes stay on the CPU."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.places: dict[str, str] = {}
        self.shapes: dict[str, Tensor] = {}
        for name, array in arrays.items():
            value = torch.from_numpy(np.array(array))
            if value.is_floating_point():
                self.places[name] = f"c{len(self.places)}"
                self.register_buffer(self.places[name], value)
            else:
                self.shapes[name] = value

    def read(self, name: str) -> Tensor:
        """One of them."""
        found: Tensor = getattr(self, self.places[name]) if name in self.places else self.shapes[name]
        return found


class OnnxModule(nn.Module):
    """A graph from one tensor to another, made by `to_torch`.

    Attributes:
        start: Tensor that it is given.
        stop: Tensor that it gives.
        layers: By name of the node, dots as slashes.
        rounders: Of activations, by name of the scale, dots as slashes.
        steps: In order.
    """

    def __init__(
        self, steps: Sequence[GraphStep], layers: Mapping[str, nn.Module], rounders: Mapping[str, nn.Module],
        constants: Mapping[str, np.ndarray], start: str, stop: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.start, self.stop = start, stop
        self.layers, self.rounders, self.constants = nn.ModuleDict(layers), nn.ModuleDict(rounders), GraphConstants(constants)
        self.steps = _released(steps, stop)

    def forward(self, x: Tensor) -> Tensor:
        """In float32, whatever precision a training computes in: integers have more digits than bfloat16."""
        with torch.autocast(x.device.type, enabled=False):
            found: dict[str, Any] = {"": None, self.start: x.float()}
            for step in self.steps:
                inputs = [found[name] if name in found else self.constants.read(name) for name in step.inputs]
                made = self._compute(step, inputs)
                found.update(zip(step.outputs, made if isinstance(made, tuple) else (made,), strict=False))
                for name in step.done:
                    del found[name]
            answer: Tensor = found[self.stop]
            return answer

    def _compute(self, step: GraphStep, inputs: list[Any]) -> Any:
        if step.operator == "Layer":
            return self.layers[step.key](inputs[0])
        if step.operator == "Round":
            return self.rounders[step.key](inputs[0])
        try:
            return OPERATORS[step.operator](step.given, inputs)
        except NotImplementedError as error:
            msg = f"{step.operator} with {error} has no counterpart with gradients here"
            raise ConversionError(msg) from error


def to_torch(
    model: onnx.ModelProto,
    layers: Mapping[str, WeightedLayer],
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    limits: tuple[int, int] = (-127, 127),
    learned: bool = True,
    nodes: Sequence[onnx.NodeProto] | None = None,
    start: str = "",
    stop: str = "",
) -> OnnxModule:
    """A network, or a part of one, as a torch module in eval mode.

    Args:
        model: Float network, or one with Q/DQ pairs.
        layers: Those whose weights and own biases are parameters, by name of the node; all else is frozen.
        weights: Float weights, by initializer, of layers that the model has as integers.
        limits: Smallest and largest integer of weights.
        learned: Whether the steps of Q/DQ pairs may be trained.
        nodes: The part, in graph order; None for all.
        start: Tensor that it starts from; the network's input where empty.
        stop: Tensor that it ends with; the network's first output where empty.

    Raises:
        ConversionError: An operator has no counterpart here; it is named.
    """
    builder = _Builder(model, layers, weights or {}, limits, learned=learned)
    steps = [builder.step(node) for node in (model.graph.node if nodes is None else nodes)]
    kept = [step for step in steps if step is not None]
    read = {name for step in kept for name in step.inputs}
    constants = {name: array for name, array in builder.arrays.items() if name in read}
    ends = start or model.graph.input[0].name, stop or model.graph.output[0].name
    return OnnxModule(kept, builder.layers, builder.rounders, constants, *ends).eval()


class _Builder:
    """Reads nodes one after the other."""

    def __init__(
        self, model: onnx.ModelProto, layers: Mapping[str, WeightedLayer], weights: Mapping[str, np.ndarray],
        limits: tuple[int, int], *, learned: bool,
    ) -> None:  # fmt: skip
        self.known, self.weights, self.limits, self.learned = layers, weights, limits, learned
        self.arrays = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
        self.layers: dict[str, nn.Module] = {}
        self.rounders: dict[str, nn.Module] = {}
        self.integers: dict[str, onnx.NodeProto] = {}
        self.fixed = {node.output[0] for node in model.graph.node if node.op_type in UNIT_RANGE}

    def step(self, node: onnx.NodeProto) -> GraphStep | None:
        """One node's step; None for one that only stores a constant."""
        given = {one.name: get_attribute_value(one) for one in node.attribute}
        plain = GraphStep(node.op_type, tuple(node.input), tuple(node.output), given)
        if node.op_type == "QuantizeLinear":
            return replace(plain, operator="Round", inputs=plain.inputs[:1], key=self._rounder(node))
        if node.op_type == "DequantizeLinear":
            if node.input[0] not in self.arrays:
                return replace(plain, operator="Identity", inputs=plain.inputs[:1])
            self.integers[node.output[0]] = node
            self.arrays[node.output[0]] = self._dequantized(node)
            return None
        layer = self.known.get(node.name)
        if layer is not None and layer.operator == node.op_type and node.input[1] in self.arrays:
            return replace(plain, operator="Layer", inputs=plain.inputs[:1], key=self._layer(node, layer, given))
        if node.op_type not in OPERATORS:
            msg = f"operator {node.op_type} ({node.name}) has no counterpart with gradients here"
            raise ConversionError(msg)
        return plain

    def _rounder(self, node: onnx.NodeProto) -> str:
        key = module_key(node.input[1])
        if key not in self.rounders:
            s, z = self.arrays[node.input[1]], self.arrays[node.input[2]]
            limits = np.iinfo(z.dtype)
            low, high = int(limits.min) - int(z), int(limits.max) - int(z)
            learned = self.learned and node.input[0] not in self.fixed
            self.rounders[key] = FakeQuantize(torch.tensor(float(s)), low, high, batched=True, learned=learned)
        return key

    def _layer(self, node: onnx.NodeProto, layer: WeightedLayer, given: Attributes) -> str:
        made_of_integers = self.integers.get(node.input[1])
        rounder: nn.Module = nn.Identity()
        weight = self.arrays[node.input[1]]
        if made_of_integers is not None:
            weight = self.weights[layer.weight]
            s = torch.from_numpy(np.array(self.arrays[made_of_integers.input[1]], np.float32))
            axis = layer.axis if s.numel() > 1 else None
            rounder = FakeQuantize(s if axis is not None else s.reshape(()), *self.limits, axis=axis, learned=self.learned)
        bias = self.arrays[node.input[2]] if len(node.input) > 2 else None
        kind = ConvLayer if node.op_type == "Conv" else MatMulLayer
        own = [None if one is None else torch.from_numpy(np.array(one, np.float32)) for one in (weight, bias)]
        made = kind(own[0], own[1], given, rounder)  # type: ignore[arg-type]
        if made.bias is not None:
            made.bias.requires_grad_(bool(layer.bias))
        key = module_key(node.name)
        self.layers[key] = made
        return key

    def _dequantized(self, node: onnx.NodeProto) -> np.ndarray:
        q, s = (self.arrays[name] for name in node.input[:2])
        z = self.arrays[node.input[2]] if len(node.input) > 2 else np.zeros((), q.dtype)
        axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
        if s.size > 1:
            shape = [-1 if place == axis % q.ndim else 1 for place in range(q.ndim)]
            s, z = s.reshape(shape), np.broadcast_to(z, s.shape).reshape(shape)
        found: np.ndarray = (q.astype(np.float32) - z.astype(np.float32)) * s
        return found


def _released(steps: Sequence[GraphStep], stop: str) -> tuple[GraphStep, ...]:
    """The steps, each with the tensors that can go after it."""
    last: dict[str, int] = {}
    made = {name for step in steps for name in step.outputs}
    for number, step in enumerate(steps):
        last |= dict.fromkeys((*step.inputs, *step.outputs), number)
    gone: dict[int, list[str]] = {}
    for name, number in last.items():
        if name in made and name not in ("", stop):
            gone.setdefault(number, []).append(name)
    return tuple(replace(step, done=tuple(gone.get(number, ()))) for number, step in enumerate(steps))
