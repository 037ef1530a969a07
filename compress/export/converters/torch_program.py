"""A float or Q/DQ ONNX file as a torch network with fixed shapes, for converters that start from `torch.export`.

Q/DQ pairs become the operators of `quantized_decomposed` with the scales of the file, so that the converted network rounds
where the file does. uint8 activations become int8 with the zero point lowered by 128: q − z is the same. An int32 bias is
stored as its float value b = q · s; runtimes round it back with the same s = s_x · s_w.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers the operators
from torch.nn import functional as F

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.graph_module import GraphModule, GraphStep
from compress.backends.torch_operators.convolution import CONVOLUTIONS, conv, paddings
from compress.backends.torch_operators.run_operator import OPERATORS
from compress.backends.torch_operators.values import Attributes, Inputs, Output, Value
from compress.core.errors import MissingOperatorError
from compress.core.language import gettext

LOW, HIGH = -128, 127
"""Range of int8."""
TO_SIGNED = 128
"""Zero point of a uint8 tensor minus that of the same tensor as int8."""
QDQ: Any = torch.ops.quantized_decomposed
"""Operators of Q/DQ pairs in torch; not annotated."""
PRODUCTS = ("Conv", "Gemm", "MatMul")
WEIGHT, LINEAR = "IntegerWeight", "Linear"
"""Steps of this module: dequantize an integer weight; y = x · Wᵀ + b."""


class IntegerWeight(NamedTuple):
    """A weight that the file stores as int8.

    Attributes:
        values: Integers.
        scale: Scale of each slice along `axis`, or one for all.
        axis: Axis of the scales.
    """

    values: np.ndarray
    scale: np.ndarray
    axis: int

    @property
    def transposed(self) -> IntegerWeight:
        """The same matrix with exchanged axes."""
        return IntegerWeight(np.ascontiguousarray(self.values.T), self.scale, 1 - self.axis)


def torch_program(
    source: Path, inputs: Mapping[str, np.ndarray], *, unfolded: bool = False, requantized: bool = False
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network of a file, and example inputs in the order of its arguments.

    Args:
        source: ONNX file, float or with Q/DQ pairs.
        inputs: Example inputs by name; `torch.export` fixes their shapes.
        unfolded: Integer weights q become floats q · s that the program quantizes to q again, for converters that expect
            weights before folding.
        requantized: Only products whose output is quantized keep integer weights, for backends without other integer kernels;
            the others compute with q · s.

    Raises:
        MissingOperatorError: An operator has no torch function; operator and node are named.
    """
    model = graphs.to_ir(onnx_files.load(source))
    if unknown := {node.op_type: str(node.name) for node in model.graph if node.op_type not in {**OPERATORS, **_FUNCTIONS}}:
        named = [f"{operator} ({node})" for operator, node in unknown.items()]
        msg = gettext("no torch function for {operators} of {path}", operators=", ".join(named), path=source.name)
        raise MissingOperatorError(msg, named)
    reader = _ProgramReader(model, _float_products(model) if requantized else frozenset())
    starts = [str(value.name) for value in model.graph.inputs if str(value.name) not in reader.given]
    network = QuantizedGraph(reader.steps, reader.arrays, reader.weights, starts, reader.stops)
    if unfolded:
        network.unfold_weights()
    return network.eval(), tuple(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in starts)


class QuantizedGraph(GraphModule):
    """A graph whose Q/DQ pairs are operators of `quantized_decomposed`.

    Args:
        steps: Steps in order of execution.
        constants: Constants by name.
        weights: Integer weights in the order of their steps' keys.
        starts: Names of the inputs.
        stops: Names of the outputs.
    """

    def __init__(
        self,
        steps: Sequence[GraphStep],
        constants: Mapping[str, np.ndarray],
        weights: Sequence[IntegerWeight],
        starts: Sequence[str],
        stops: Sequence[str],
    ) -> None:
        super().__init__(steps, constants, starts, stops)
        self.axes = [weight.axis for weight in weights]
        for index, weight in enumerate(weights):
            self.register_buffer(f"weight_{index}", torch.from_numpy(np.array(weight.values)))
            self.register_buffer(f"scale_{index}", torch.from_numpy(np.array(weight.scale, np.float32).reshape(-1)))
            self.register_buffer(f"point_{index}", torch.zeros(weight.scale.size, dtype=torch.int64))

    def unfold_weights(self) -> None:
        """Store weights as floats q · s, which the program quantizes to q again."""
        for index, axis in enumerate(self.axes):
            values, scale = getattr(self, f"weight_{index}"), getattr(self, f"scale_{index}")
            around = [1] * values.ndim
            around[axis] = scale.numel()
            setattr(self, f"weight_{index}", values * (scale.reshape(around) if scale.numel() > 1 else scale))

    def _compute(self, step: GraphStep, inputs: Sequence[Value]) -> tuple[Output, ...]:
        if step.operator == WEIGHT:
            values, scale, point = (getattr(self, f"{name}_{step.key}") for name in ("weight", "scale", "point"))
            if scale.numel() == 1:
                step_size = float(scale)
                if values.is_floating_point():
                    values = QDQ.quantize_per_tensor.default(values, step_size, 0, LOW, HIGH, torch.int8)
                return (QDQ.dequantize_per_tensor.default(values, step_size, 0, LOW, HIGH, torch.int8),)
            axis = self.axes[int(step.key)]
            if values.is_floating_point():
                values = QDQ.quantize_per_channel.default(values, scale, point, axis, LOW, HIGH, torch.int8)
            return (QDQ.dequantize_per_channel.default(values, scale, point, axis, LOW, HIGH, torch.int8),)
        if step.operator in _FUNCTIONS:
            return (_FUNCTIONS[step.operator](step.attributes, Inputs(inputs)),)
        return super()._compute(step, inputs)


class _ProgramReader:
    """Steps, constants and integer weights of a graph; matrix products with constants become linear layers.

    Args:
        model: The graph.
        floats: Names of dequantized weights that become floats.
    """

    def __init__(self, model: ir.Model, floats: frozenset[str]) -> None:
        self.floats = floats
        self.given = {str(name): _float32(graphs.constant(value)) for name, value in model.graph.initializers.items()}
        self.arrays = dict(self.given)
        self.steps: list[GraphStep] = []
        self.weights: list[IntegerWeight] = []
        self._integer: dict[str, IntegerWeight] = {}
        self._activations: dict[str, GraphStep] = {}
        self._stored = set[str]()
        self._biases = dict(_added_biases(model, self.given))
        for node in model.graph:
            self._add(
                GraphStep(
                    node.op_type, graphs.input_names(node), graphs.output_names(node), Attributes.of(node), str(node.name)
                )
            )
        stops = tuple(str(value.name) for value in model.graph.outputs)
        self.stops = tuple(self._read(name) for name in stops)

    def _add(self, step: GraphStep) -> None:
        if step.operator == "DequantizeLinear" and step.inputs[0] in self.given:
            self._add_constant(step)
        elif step.operator == "MatMul" and self._is_matrix(step.inputs[1]):
            bias, output = self._biases.get(step.outputs[0], ("", step.outputs[0]))
            self._add_linear(step, bias, output, transpose=True)
        elif step.operator == "Gemm" and self._is_matrix(step.inputs[1]) and _is_plain(step.attributes):
            bias = step.inputs[2] if len(step.inputs) > 2 else ""
            self._add_linear(step, bias, step.outputs[0], transpose=not step.attributes.integer("transB", 0))
        elif step.operator == "DequantizeLinear":
            self._activations[step.outputs[0]] = step
        elif step.operator != "Add" or step.outputs[0] not in {output for _, output in self._biases.values()}:
            inputs = tuple(self._read(name) for name in step.inputs)
            self.steps.append(GraphStep(step.operator, inputs, step.outputs, step.attributes, step.node))

    def _add_constant(self, step: GraphStep) -> None:
        values, scale = self.given[step.inputs[0]], self.given[step.inputs[1]]
        point = self.given[step.inputs[2]] if len(step.inputs) > 2 and step.inputs[2] else np.zeros(1, values.dtype)
        axis = step.attributes.integer("axis", 1) % max(values.ndim, 1)
        if values.dtype == np.int8 and values.ndim > 1 and not point.any() and step.outputs[0] not in self.floats:
            self._integer[step.outputs[0]] = IntegerWeight(values, np.asarray(scale), axis)
            return
        around = [1] * values.ndim
        if scale.size > 1:
            around[axis] = scale.size
        integers = values.astype(np.float64) - point.astype(np.float64).reshape(around if point.size > 1 else [1] * values.ndim)
        self.arrays[step.outputs[0]] = (integers * scale.reshape(around)).astype(np.float32)

    def _is_matrix(self, name: str) -> bool:
        if name in self._integer:
            return self._integer[name].values.ndim == 2
        return name in self.arrays and self.arrays[name].ndim == 2

    def _add_linear(self, step: GraphStep, bias: str, output: str, *, transpose: bool) -> None:
        inputs = (self._read(step.inputs[0]), self._weight(step.inputs[1], transpose=transpose), bias)
        self.steps.append(GraphStep(LINEAR, inputs, (output,), Attributes({}), step.node))

    def _read(self, name: str) -> str:
        """Name of an input. Each reader of a quantized activation dequantizes it itself, as partitioners of backends expect."""
        if name in self._integer:
            return self._weight(name, transpose=False)
        if name not in self._activations:
            return name
        step = self._activations[name]
        copy = f"{name}_{len(self.steps)}_dequantized"
        self.steps.append(GraphStep(step.operator, step.inputs, (copy,), step.attributes, step.node))
        return copy

    def _weight(self, name: str, *, transpose: bool) -> str:
        """Name of a weight, or of its transpose, whose step is added on first use."""
        made = f"{name}_transposed" if transpose else name
        if name not in self._integer:
            if transpose:
                self.arrays[made] = np.ascontiguousarray(self.arrays[name].T)
            return made
        if made not in self._stored:
            self._stored.add(made)
            weight = self._integer[name]
            self.steps.append(GraphStep(WEIGHT, (), (made,), Attributes({}), key=str(len(self.weights))))
            self.weights.append(weight.transposed if transpose else weight)
        return made


def _added_biases(model: ir.Model, arrays: Mapping[str, np.ndarray]) -> list[tuple[str, tuple[str, str]]]:
    """Bias and output of the sum, by output of the matrix product that only this sum of a row reads."""
    pairs = []
    for node in model.graph:
        if node.op_type != "Add":
            continue
        for product, other in ((0, 1), (1, 0)):
            value, constant = node.inputs[product], node.inputs[other]
            bias = "" if constant is None else str(constant.name)
            producer = value.producer() if value is not None else None
            if value is None or producer is None or bias not in arrays or arrays[bias].ndim != 1:
                continue
            if producer.op_type == "MatMul" and len(value.uses()) == 1:
                pairs.append((str(value.name), (bias, graphs.output_names(node)[0])))
                break
    return pairs


def _float_products(model: ir.Model) -> frozenset[str]:
    """Names of the weights of products whose output, after a bias and an activation function, is not quantized."""
    found = set[str]()
    for node in model.graph:
        if node.op_type in PRODUCTS and not _is_quantized(node.outputs[0]):
            found.update(graphs.input_names(node)[1:])
    return frozenset(found)


def _is_quantized(value: ir.Value) -> bool:
    readers = [use.node for use in value.uses()]
    if value.is_graph_output() or not readers:
        return False
    return all(
        reader.op_type == "QuantizeLinear" or (reader.op_type in ("Add", "Clip", "Relu") and _is_quantized(reader.outputs[0]))
        for reader in readers
    )


def _is_plain(attributes: Attributes) -> bool:
    """Whether a Gemm is x · W + b without factors."""
    return attributes.number("alpha", 1) == attributes.number("beta", 1) == 1 and not attributes.integer("transA", 0)


def _float32(array: np.ndarray | None) -> np.ndarray:
    values = np.asarray(array)
    return values if values.dtype.kind in "iub" else values.astype(np.float32)


def _quantize(_: Attributes, x: Inputs) -> Tensor:
    scale, point = _parameters(x)
    return QDQ.quantize_per_tensor.default(x.tensor(0), scale, point, LOW, HIGH, torch.int8)  # type: ignore[no-any-return]


def _dequantize(_: Attributes, x: Inputs) -> Tensor:
    scale, point = _parameters(x)
    return QDQ.dequantize_per_tensor.default(x.tensor(0), scale, point, LOW, HIGH, torch.int8)  # type: ignore[no-any-return]


def _parameters(x: Inputs) -> tuple[float, int]:
    """Scale and int8 zero point of an activation.

    Raises:
        NotImplementedError: It has several scales, or a type other than int8 and uint8.
    """
    scale, point = x.values[1], x.values[2] if x.has(2) else np.zeros((), np.uint8)
    if not isinstance(scale, np.ndarray) or scale.size != 1 or not isinstance(point, np.ndarray):
        raise NotImplementedError(gettext("several scales of one activation"))
    if point.dtype not in (np.int8, np.uint8):
        raise NotImplementedError(gettext("activations of type {kind}", kind=point.dtype))
    return float(scale.item()), int(point.item()) - (TO_SIGNED if point.dtype == np.uint8 else 0)


def _conv(attributes: Attributes, x: Inputs) -> Tensor:
    """A convolution whose even padding is its own and not a step before it."""
    values, weight = x.tensor(0), x.tensor(1)
    size, dims = tuple(weight.shape[2:]), weight.ndim - 2
    pads = paddings(attributes, tuple(values.shape[2:]), size)
    if pads[:dims] != pads[dims:]:
        return conv(attributes, x)
    stride, dilation = (attributes.integers(name) or (1,) * dims for name in ("strides", "dilations"))
    group = attributes.integer("group", 1)
    return CONVOLUTIONS[weight.ndim](values, weight, x.optional(2), stride, pads[:dims], dilation, group)


def _clip(_: Attributes, x: Inputs) -> Tensor:
    """Clip to numbers, as the activation functions of runtimes."""
    low, high = (x.number(index) if len(x) > index else None for index in (1, 2))
    if low == 0 and high is None:
        return F.relu(x.tensor(0))
    return F.relu6(x.tensor(0)) if (low, high) == (0, 6) else torch.clamp(x.tensor(0), low, high)


_FUNCTIONS: dict[str, Callable[[Attributes, Inputs], Tensor]] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Conv": _conv,
    "Clip": _clip,
    LINEAR: lambda _, x: F.linear(x.tensor(0), x.tensor(1), x.optional(2)),
}
