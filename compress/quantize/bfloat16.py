"""Conversion to bfloat16, which has the range of float32 and 8 significant bits: no overflow, and no calibration is needed.

    bfloat16(x) = the nearest of the numbers ± m 2^e with 8 significant bits, ties to even

`to_bfloat16` converts the network for a runtime with bfloat16 kernels: weights and intermediate tensors are bfloat16, inputs
and outputs float32. ONNX has bfloat16 convolutions from opset 22 on. The CPU kernels of ONNX Runtime support bfloat16 for few
operators, so `emulate_bfloat16` computes the same result with float32 kernels and rounds every tensor between them, like matrix
units that multiply in bfloat16 and accumulate in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact

OPSET = 22
"""The first opset in which Conv supports bfloat16."""
KEEP_ROUNDED = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Concat", "Split", "Relu",
     "MaxPool", "Expand", "Shape"}
)  # fmt: skip
"""Operators whose output values are bfloat16 numbers if their input values are."""


def convert_opset(model: ir.Model, opset: int) -> ir.Model:
    """A copy of the network in another opset version."""
    names = {graphs.output_names(node)[0]: node.name for node in model.graph}
    converted = graphs.to_ir(onnx.version_converter.convert_version(graphs.to_proto(model), opset))
    for node in converted.graph:  # the converter keeps the names of tensors and drops those of nodes
        node.name = node.name or names.get(graphs.output_names(node)[0], "")
    return converted


def to_bfloat16(model: ir.Model, *, exclude: Sequence[str] = ()) -> tuple[ir.Model, tuple[Fact, ...]]:
    """Convert a network to bfloat16.

    Args:
        model: Float network; not changed.
        exclude: Names of nodes that stay in float32.

    Returns:
        The converted network, and facts on the nodes without bfloat16 in ONNX.
    """
    converted = graphs.with_shapes(convert_opset(model, OPSET))
    converted.ir_version = max(converted.ir_version, 10)
    conversion = _Conversion(converted, frozenset(exclude))
    conversion.run()
    return converted, tuple(conversion.skipped)


def emulate_bfloat16(model: ir.Model, *, exclude: Sequence[str] = ()) -> ir.Model:
    """A network that computes the same with float32 kernels: every tensor is rounded to bfloat16 and converted back.

    Args:
        model: Float network; not changed.
        exclude: Names of nodes that stay in float32; their weights are not rounded.
    """
    emulated = graphs.with_shapes(model)
    graph = emulated.graph
    exact = {value for node in graph if node.name in exclude for value in node.inputs}
    tensors = [
        value
        for value in graphs.float_tensors(emulated)
        if (node := value.producer()) is None or node.op_type not in (*KEEP_ROUNDED, "Cast")
    ]
    for weight in [value for value in graph.initializers.values() if value.dtype == ir.DataType.FLOAT and value not in exact]:
        name = str(weight.name)
        rounded = graphs.add_initializer(emulated, f"{name}_bf16", round_array(weight))
        cast = graphs.make_node("Cast", [rounded], [name], to=ir.DataType.FLOAT)
        weight.replace_all_uses_with(cast.outputs[0])
        del graph.initializers[name]
        graph.insert_before(graph[0], cast)
    for value in tensors:
        _round(graph, value)
    return emulated


def _round(graph: ir.Graph, value: ir.Value) -> None:
    """Insert a pair of Casts after a tensor, in place."""
    name, node, is_output = str(value.name), value.producer(), value.is_graph_output()
    narrow = graphs.make_node("Cast", [value], [f"{name}_bf16"], to=ir.DataType.BFLOAT16)
    wide = _cast(value, name if is_output else f"{name}_rounded", ir.DataType.FLOAT)
    wide.replace_input_with(0, narrow.outputs[0])
    narrow.replace_input_with(0, value)
    if is_output:
        value.name = f"{name}_exact"
    if node is None:
        graph.insert_before(graph[0], [narrow, wide])
    else:
        graph.insert_after(node, [narrow, wide])


def _cast(value: ir.Value, name: str, to: ir.DataType) -> ir.Node:
    """A Cast of a tensor; all readers of the tensor read its result instead."""
    cast = graphs.make_node("Cast", [value], [name], to=to)
    (result,) = cast.outputs
    result.type, result.shape = value.type, value.shape
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    cast.replace_input_with(0, value)
    return cast


class _Conversion:
    """Converts a graph to bfloat16, in place.

    Args:
        model: Network in opset `OPSET` or later with inferred types.
        exclude: Names of nodes that stay in float32.

    Attributes:
        skipped: Facts on the nodes without bfloat16 in ONNX.
    """

    def __init__(self, model: ir.Model, exclude: frozenset[str]) -> None:
        self.graph, self.opsets, self.exclude = model.graph, model.opset_imports, exclude
        self.floats = set(graphs.float_tensors(model))
        self.weights = {value for value in self.graph.initializers.values() if value.dtype == ir.DataType.FLOAT}
        self.bfloat16_weights: dict[ir.Value, ir.Value] = {}
        self.float32_weights: dict[ir.Value, None] = {}
        self.skipped: list[Fact] = []

    def run(self) -> None:
        """Convert all nodes, inputs and outputs."""
        graph, nodes = self.graph, list(self.graph)
        inputs = [value for value in graph.inputs if value in self.floats]
        casts = [_cast(value, f"{value.name}_bf16", ir.DataType.BFLOAT16) for value in inputs]
        graph.insert_before(nodes[0], casts)
        self.floats.update(cast.outputs[0] for cast in casts)
        for node in nodes:
            self._convert(node)
        for value in [value for value in graph.outputs if value in self.floats]:
            name = str(value.name)
            readers = value.uses()
            cast = _cast(value, name, ir.DataType.FLOAT)
            for reader, index in readers:
                reader.replace_input_with(index, value)
            value.name = f"{name}_bf16"
            graph.append(cast)
        for weight in self.weights:
            del graph.initializers[str(weight.name)]
        for weight in (*self.bfloat16_weights.values(), *self.float32_weights):
            graph.register_initializer(weight)
        for value in (value for node in graph for value in node.outputs if not value.is_graph_output()):
            value.type = value.shape = None  # were inferred for float32

    def _convert(self, node: ir.Node) -> None:
        """Convert one node, or insert Casts around it if it stays in float32."""
        inputs_convert, outputs_convert = self._convertible(node)
        name = graphs.output_names(node)[0]
        for index, value in enumerate(node.inputs):
            if value in self.weights:
                node.replace_input_with(index, self._weight(value, bfloat16=inputs_convert[index]))
            elif value in self.floats and not inputs_convert[index]:
                cast = graphs.make_node("Cast", [value], [f"{name}_in{index}"], to=ir.DataType.FLOAT)
                self.graph.insert_before(node, cast)
                node.replace_input_with(index, cast.outputs[0])
        for attribute in list(node.attributes.values()):
            if node.op_type == "Cast" and attribute.name == "to" and attribute.value == ir.DataType.FLOAT:
                node.attributes.add(ir.AttrInt64("to", ir.DataType.BFLOAT16))
            elif attribute.name == "value" and attribute.value.dtype == ir.DataType.FLOAT and outputs_convert[0]:
                tensor = attribute.value
                rounded = ir.tensor(tensor.numpy().astype(ir.DataType.BFLOAT16.numpy()), name=tensor.name)
                node.attributes.add(ir.AttrTensor("value", rounded))
        casts = []
        for value, converts in zip(node.outputs, outputs_convert, strict=True):
            if value in self.floats and not converts:
                cast = _cast(value, str(value.name), ir.DataType.BFLOAT16)
                value.name = f"{value.name}_wide"
                self.floats.add(cast.outputs[0])
                casts.append(cast)
        self.graph.insert_after(node, casts)

    def _weight(self, weight: ir.Value, *, bfloat16: bool) -> ir.Value:
        """A weight in the type that a node needs; other nodes may need the other type."""
        if not bfloat16:
            self.float32_weights.setdefault(weight)
            return weight
        if weight not in self.bfloat16_weights:
            tensor = ir.tensor(round_array(weight), name=f"{weight.name}_bf16")
            self.bfloat16_weights[weight] = ir.Value(
                name=tensor.name, shape=weight.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.bfloat16_weights[weight]

    def _convertible(self, node: ir.Node) -> tuple[list[bool], list[bool]]:
        """Whether each input and each output can be bfloat16: all without a fixed type; none if the node stays in float32."""
        counts = len(node.inputs), len(node.outputs)
        none = [False] * counts[0], [False] * counts[1]
        if node.name and node.name in self.exclude:
            return none
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opsets.get(node.domain, OPSET), node.domain)
        except onnx.defs.SchemaError:
            self._skip(node)
            return none
        allowed = {constraint.type_param_str: set(constraint.allowed_type_strs) for constraint in schema.type_constraints}
        input_types, output_types = (
            [parameters[min(index, len(parameters) - 1)].type_str for index in range(count)]
            for parameters, count in zip((schema.inputs, schema.outputs), counts, strict=True)
        )
        typed = zip((*node.inputs, *node.outputs), (*input_types, *output_types), strict=True)
        float_types = {kind for value, kind in typed if kind in allowed and (value in self.floats or value in self.weights)}
        if any("tensor(bfloat16)" not in allowed[kind] for kind in float_types):
            self._skip(node)
            return none
        return [kind in allowed for kind in input_types], [kind in allowed for kind in output_types]

    def _skip(self, node: ir.Node) -> None:
        self.skipped.append(Fact.of("quantize.float_no_bfloat16", str(node.name), operator=node.op_type, opset=OPSET))


def round_array(weight: ir.Value) -> np.ndarray:
    """A float32 constant rounded to bfloat16, ties to even."""
    return np.asarray(graphs.constant(weight)).astype(ir.DataType.BFLOAT16.numpy())
