"""Arithmetic operations and memory traffic of each operator of an ONNX graph at batch 1, as a runtime executes it.

Runtimes fuse QuantizeLinear and DequantizeLinear into their neighbours, and batch norms and activations into the preceding
convolution; a reshape moves no data. These operators count as no work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from compress.backends.read_graph import read_graph
from compress.core.errors import ConversionError, DeviceError
from compress.core.language import gettext
from compress.profile.cost_model.contrib_operators import contrib_products, standard_twin

Kind = Literal["dense", "grouped", "depthwise", "other"]
Number = Literal["float", "int8"]
CONVOLUTIONS = {"Conv", "ConvTranspose", "QLinearConv", "ConvInteger", "DeformConv"}
PRODUCTS = {"MatMul", "Gemm", "QLinearMatMul", "MatMulInteger", "QGemm"}
RECURRENCES = {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}
INTEGER = {"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "QGemm", "QLinearAdd", "QLinearGlobalAveragePool"}
COUNTED = CONVOLUTIONS | PRODUCTS | RECURRENCES | {"Einsum"}
"""Operators whose sums of products have a formula here, contrib operators of ONNX Runtime included."""
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}
FUSED = {"Relu", "Clip", "BatchNormalization", "LeakyRelu", "Add"}
"""Fused into the preceding convolution or product by ONNX Runtime and TensorRT; Add is the residual sum."""
CONTROL_FLOW = {"If", "Loop", "Scan"}
"""Not counted themselves; the operators of their subgraphs are."""
FREE = {"Reshape", "Flatten", "Identity", "Dropout", "Constant", "Shape", "Squeeze", "Unsqueeze", "Cast"}
"""Operators that move a negligible amount of data in a vision network."""


@dataclass(frozen=True)
class OperatorWork:
    """Work of one operator that a runtime executes.

    Attributes:
        name: Name of the node, or of its first output.
        operator: ONNX operator type.
        kind: Class of kernels with similar use of the arithmetic units.
        number: `int8` if its inputs are quantized.
        operations: Arithmetic operations; a multiply-accumulate counts as two.
        elements: Elements read and written: input and output activations, and weights.
    """

    name: str
    operator: str
    kind: Kind
    number: Number
    operations: int
    elements: int


def operator_work(path: Path) -> tuple[OperatorWork, ...]:
    """Work of every operator that a runtime executes for one sample, from inferred shapes; see also `executed_work`.

    Raises:
        ConversionError: The file cannot be read, or is not an ONNX file.
        DeviceError: Shapes are unknown even at batch 1, or an operator is malformed.
    """
    try:
        graph = at_batch_one(load(path)).graph
        return tuple(GraphWork(graph, shapes_in(graph), path).work())
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        raise ConversionError(msg) from error
    except (IndexError, KeyError, ValueError, shape_inference.InferenceError) as error:
        msg = gettext(
            "{path}: the work of its operators cannot be counted: inputs or attributes of one of them are malformed ({error})",
            path=path,
            error=error,
        )
        raise DeviceError(msg) from error


def macs(path: Path) -> int:
    """Multiply-accumulates of convolutions and matrix products for one sample."""
    return sum(item.operations for item in operator_work(path) if item.kind != "other") // 2


def load(path: Path) -> onnx.ModelProto:
    """Read a model without its external data.

    Raises:
        ConversionError: It is not an ONNX file, or its graph has no nodes.
    """
    model = read_graph(path)
    if not model.graph.node:
        msg = gettext("cannot read {path} as ONNX: its graph has no nodes", path=path)
        raise ConversionError(msg)
    return model


def at_batch_one(model: onnx.ModelProto) -> onnx.ModelProto:
    """Set free first dimensions of the inputs to 1 and infer all other shapes again; `model` is changed."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for item in model.graph.input:
        dimensions = item.type.tensor_type.shape.dim
        if item.name not in weights and dimensions and not dimensions[0].HasField("dim_value"):
            dimensions[0].dim_value = 1
    del model.graph.value_info[:]
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(standard_twin(model), data_prop=True)
    if inferred.graph.node == model.graph.node:
        return inferred
    model.graph.value_info.extend(inferred.graph.value_info)
    for item, known in zip(model.graph.output, inferred.graph.output, strict=True):
        item.CopyFrom(known)
    return model


def shapes_in(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes by tensor, where the graph has them; see `at_batch_one`."""
    shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for item in (*graph.input, *graph.value_info, *graph.output):
        shapes[item.name] = _with_batch_one(tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim))
    return shapes


def _with_batch_one(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Take an unknown first dimension, as after index arithmetic on the batch, for the batch, which is 1."""
    return (1, *shape[1:]) if shape and shape[0] == 0 else shape


class GraphWork:
    """Work of the operators of one graph, without its subgraphs.

    Args:
        graph: The graph.
        shapes: Shapes by tensor; an unknown size is 0 or less, unless `exact`.
        path: File name for messages.
        runs: Number of executions of each node, by index; None counts each node once.
        exact: The shapes were recorded in a run: an axis of size 0 has no elements.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        shapes: Mapping[str, tuple[int, ...]],
        path: Path,
        *,
        runs: Mapping[int, int] | None = None,
        exact: bool = False,
    ) -> None:
        self.path, self.graph, self.shapes = path, graph, shapes
        self.runs, self.exact = runs, exact
        self.producer = {output: node for node in self.graph.node for output in node.output}
        self._after_product: dict[str, bool] = {}

    def work(self) -> Iterator[OperatorWork]:
        """Work of each operator that a runtime executes, once per execution."""
        for index, node in enumerate(self.graph.node):
            runs = 1 if self.runs is None else self.runs.get(index, 0)
            if runs and node.op_type not in QUANTIZERS | FREE | CONTROL_FLOW and not self._fused(node):
                yield from [self._measure(node)] * runs

    def _measure(self, node: onnx.NodeProto) -> OperatorWork:
        kind, operations = self._arithmetic(node)
        tensors = [name for name in (*node.input, *node.output) if name]
        return OperatorWork(
            name=node.name or node.output[0],
            operator=node.op_type,
            kind=kind,
            number="int8" if self._quantized(node) else "float",
            operations=operations,
            elements=sum(self._elements(name) for name in tensors),
        )

    def _arithmetic(self, node: onnx.NodeProto) -> tuple[Kind, int]:
        out = self._elements(node.output[0])
        if node.op_type in CONVOLUTIONS:
            weight = self._shape(self._weight_of(node))
            group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
            taps = prod(weight[1:])
            if node.op_type == "ConvTranspose":
                return "dense", 2 * self._elements(node.input[0]) * taps
            return ("dense" if group == 1 else "depthwise" if weight[1] == 1 else "grouped"), 2 * out * taps
        if node.op_type in PRODUCTS:
            return "dense", 2 * out * self._depth(node)
        if products := self._products(node):
            return "dense", 2 * products
        return "other", max(self._elements(name) for name in (*node.input, *node.output) if name)

    def _products(self, node: onnx.NodeProto) -> int:
        """Multiply-accumulates of operators that contain matrix products; 0 for others."""
        if node.op_type in RECURRENCES:  # each step of each sequence: W of (directions, gates × hidden, input), R likewise
            steps, batch, *_ = self._shape(node.input[0])
            return steps * batch * (self._elements(node.input[1]) + self._elements(node.input[2]))
        if node.op_type == "Einsum":
            equation = {attribute.name: attribute.s for attribute in node.attribute}["equation"]
            return einsum_products(equation.decode(), [self._shape(name) for name in node.input])
        if node.op_type == "Attention" and not node.domain:  # Q Kᵀ and the weighted sum of V
            keys = self._shape(node.input[1])[-2]
            return keys * (self._elements(node.input[0]) + self._elements(node.output[0]))
        return contrib_products(node, self._shape)

    def _depth(self, node: onnx.NodeProto) -> int:
        """Length of the sum in a matrix product: the last dimension of its first input, or the first if transposed."""
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return self._shape(node.input[0])[0 if transposed else -1]

    def _weight_of(self, node: onnx.NodeProto) -> str:
        return str(node.input[3 if node.op_type == "QLinearConv" else 1])

    def _quantized(self, node: onnx.NodeProto) -> bool:
        if node.op_type in INTEGER:
            return True
        data = node.input[0] if node.input else ""
        return data in self.producer and self.producer[data].op_type == "DequantizeLinear"

    def _fused(self, node: onnx.NodeProto) -> bool:
        return node.op_type in FUSED and self._computed_before(node)

    def _computed_before(self, node: onnx.NodeProto) -> bool:
        """Whether an input comes from a convolution or product, directly or through fused operators and quantizers."""
        name = node.output[0]
        if name not in self._after_product:
            producers = [self.producer[name] for name in node.input if name in self.producer]
            self._after_product[name] = any(
                producer.op_type in CONVOLUTIONS | PRODUCTS
                or (producer.op_type in FUSED | QUANTIZERS and self._computed_before(producer))
                for producer in producers
            )
        return self._after_product[name]

    def _elements(self, name: str) -> int:
        return prod(self._shape(name))

    def _shape(self, name: str) -> tuple[int, ...]:
        if self.exact:
            return self.shapes.get(name, ())
        shape = self.shapes.get(name) or self._constant(name)
        if shape is None or any(size <= 0 for size in shape):
            if name in self.shapes and self.shapes[name] == ():
                return ()
            msg = gettext(
                "{path}: the shape of {name!r} is unknown at batch 1; export with fixed sizes to estimate the latency",
                path=self.path,
                name=name,
            )
            raise DeviceError(msg)
        return shape

    def _constant(self, name: str) -> tuple[int, ...] | None:
        """Shape of the output of a Constant node, or of a dequantized weight."""
        node = self.producer.get(name)
        if node is None:
            return None
        if node.op_type in QUANTIZERS:
            return self._shape(node.input[0])
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        return tuple(np.shape(numpy_helper.to_array(value))) if value is not None else None


def einsum_products(equation: str, shapes: list[tuple[int, ...]]) -> int:
    """Multiply-accumulates of an Einsum whose operands are contracted in pairs from left to right; 0 for a single operand."""
    left, _, right = equation.replace(" ", "").partition("->")
    terms = [_indices(term, len(shape)) for term, shape in zip(left.split(","), shapes, strict=True)]
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        sizes |= {index: max(size, sizes.get(index, 1)) for index, size in zip(term, shape, strict=True)}
    if "->" in equation:
        result = set(right.replace("...", "")) | {index for index in sizes if index.startswith("...") and "..." in right}
    else:
        result = {index for index in sizes if sum(term.count(index) for term in terms) == 1 or index.startswith("...")}
    operand, products = set(terms[0]), 0
    for following, term in enumerate(terms[1:], 2):
        products += prod(sizes[index] for index in operand | set(term))
        operand = (operand | set(term)) & result.union(*terms[following:])
    return products


def _indices(term: str, rank: int) -> list[str]:
    """Indices of an Einsum term; an ellipsis is numbered from its end, `...2`, `...1`, because operands broadcast."""
    before, dots, after = term.partition("...")
    return [*before, *(f"...{position}" for position in range(rank - len(before) - len(after), 0, -1) if dots), *after]


def bytes_of(number: Number, floats: Literal["fp32", "fp16"]) -> int:
    """Bytes of one element."""
    return 1 if number == "int8" else {"fp32": 4, "fp16": 2}[floats]
