"""bfloat16: the range of float32 with 8 bits of precision, so that nothing overflows and no calibration is needed.

    bfloat16(x) = x rounded to the nearest of the numbers ± m 2^e with 8 significant bits, ties to even

`to_bfloat16` writes the network for a runtime with bfloat16 kernels: weights and intermediate tensors are bfloat16, input and
outputs float32. ONNX allows bfloat16 convolutions from opset 22 on. ONNX Runtime's CPU has almost no bfloat16 kernels (layer
normalisation, and operators that only move values), so `emulate_bfloat16` shows what such a device would compute: float32
kernels with every tensor between them rounded, like matrix units that multiply in bfloat16 and accumulate in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_node, make_tensor
from onnx.numpy_helper import to_array

from compress.core.fact import Fact

OPSET = 22
"""The first in which Conv takes bfloat16."""
KEEP_ROUNDED = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Concat", "Split", "Relu",
     "MaxPool", "Expand", "Shape"}
)  # fmt: skip
"""Operators whose result is a bfloat16 number where their input is one."""


def to_bfloat16(model: onnx.ModelProto, *, exclude: Sequence[str] = ()) -> tuple[onnx.ModelProto, tuple[Fact, ...]]:
    """Convert a network to bfloat16.

    Args:
        model: Float network; left as it was.
        exclude: Names of nodes that stay in float32.

    Returns:
        A copy, and the nodes that ONNX has no bfloat16 for.
    """
    names = {node.output[0]: node.name for node in model.graph.node}
    converted = onnx.version_converter.convert_version(model, OPSET)
    converted.ir_version = max(converted.ir_version, 10)
    for node in converted.graph.node:  # the converter keeps the names of tensors and drops those of nodes
        node.name = node.name or names.get(node.output[0], "")
    conversion = _Conversion(converted, frozenset(exclude))
    conversion.run()
    return converted, tuple(conversion.skipped)


def emulate_bfloat16(model: onnx.ModelProto, *, exclude: Sequence[str] = ()) -> onnx.ModelProto:
    """The same arithmetic with float32 kernels: every tensor is rounded to bfloat16 and converted back.

    Args:
        model: Float network; left as it was.
        exclude: Names of nodes that stay in float32; their weights are not rounded.
    """
    emulated = onnx.ModelProto()
    emulated.CopyFrom(model)
    graph = emulated.graph
    floats = _float_tensors(model)
    exact = {name for node in graph.node if node.name in exclude for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT and tensor.name not in exact]
    for tensor in weights:
        rounded = as_bfloat16(tensor, f"{tensor.name}_bf16")
        graph.node.insert(0, make_node("Cast", [rounded.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.append(rounded)
        graph.initializer.remove(tensor)
    outputs = {value.name for value in graph.output}
    inputs = {value.name for value in graph.input} & floats
    computed = [
        name for node in graph.node if node.op_type not in (*KEEP_ROUNDED, "Cast") for name in node.output if name in floats
    ]
    for name in [*inputs, *computed]:
        _round(graph, name, is_output=name in outputs)
    return emulated


def _round(graph: onnx.GraphProto, name: str, *, is_output: bool) -> None:
    """Insert a pair of casts behind a tensor, in place."""
    exact = f"{name}_exact" if is_output else name
    rounded = name if is_output else f"{name}_rounded"
    position = 0
    for index, node in enumerate(graph.node):
        if name in node.output:
            node.output[:] = [exact if output == name else output for output in node.output]
            position = index + 1
        elif name in node.input:
            node.input[:] = [rounded if read == name else read for read in node.input]
    casts = (
        make_node("Cast", [exact], [f"{name}_bf16"], to=TensorProto.BFLOAT16),
        make_node("Cast", [f"{name}_bf16"], [rounded], to=TensorProto.FLOAT),
    )
    for offset, cast in enumerate(casts):
        graph.node.insert(position + offset, cast)


class _Conversion:
    """Converts a graph to bfloat16, in place.

    Args:
        model: Of opset `OPSET` or later.
        exclude: Names of nodes that stay in float32.

    Attributes:
        skipped: Nodes that ONNX has no bfloat16 for.
    """

    def __init__(self, model: onnx.ModelProto, exclude: frozenset[str]) -> None:
        self.graph = model.graph
        self.opsets = {opset.domain: opset.version for opset in model.opset_import}
        self.exclude = exclude
        self.floats = _float_tensors(model)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self.nodes: list[onnx.NodeProto] = []
        self.bfloat16_weights: dict[str, onnx.TensorProto] = {}
        self.float32_weights: dict[str, onnx.TensorProto] = {}
        self.skipped: list[Fact] = []

    def run(self) -> None:
        """Convert all nodes, inputs and outputs."""
        graph = self.graph
        renamed = {value.name: f"{value.name}_bf16" for value in graph.input if value.name in self.floats}
        for name, new in renamed.items():
            self.nodes.append(make_node("Cast", [name], [new], to=TensorProto.BFLOAT16))
        self.floats |= set(renamed.values())
        for node in graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            self._convert(node)
        for value in graph.output:
            if value.name in self.floats:
                bfloat16 = f"{value.name}_bf16"
                for node in self.nodes:
                    node.output[:] = [bfloat16 if name == value.name else name for name in node.output]
                    node.input[:] = [bfloat16 if name == value.name else name for name in node.input]
                self.nodes.append(make_node("Cast", [bfloat16], [value.name], to=TensorProto.FLOAT))
        others = [tensor for tensor in graph.initializer if tensor.name not in self.weights]
        del graph.initializer[:], graph.node[:]
        graph.initializer.extend([*others, *self.bfloat16_weights.values(), *self.float32_weights.values()])
        graph.node.extend(self.nodes)
        graph.ClearField("value_info")

    def _convert(self, node: onnx.NodeProto) -> None:
        """Convert one node, with casts around it where it stays in float32."""
        inputs_convert, outputs_convert = self._convertible(node)
        before, after = [], []
        for index, name in enumerate(node.input):
            if name in self.weights:
                node.input[index] = self._weight(name, bfloat16=inputs_convert[index])
            elif name in self.floats and not inputs_convert[index]:
                node.input[index] = f"{node.output[0]}_in{index}"
                before.append(make_node("Cast", [name], [node.input[index]], to=TensorProto.FLOAT))
        for index, name in enumerate(node.output):
            if name in self.floats and not outputs_convert[index]:
                node.output[index] = f"{name}_wide"
                after.append(make_node("Cast", [node.output[index]], [name], to=TensorProto.BFLOAT16))
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.BFLOAT16
            elif attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT and outputs_convert[0]:
                attribute.t.CopyFrom(as_bfloat16(attribute.t, attribute.t.name))
        self.nodes += [*before, node, *after]

    def _weight(self, name: str, *, bfloat16: bool) -> str:
        """Name of a weight in the type that a node needs; a weight may be needed in both."""
        if not bfloat16:
            self.float32_weights.setdefault(name, self.weights[name])
            return name
        new = f"{name}_bf16"
        if name not in self.bfloat16_weights:
            self.bfloat16_weights[name] = as_bfloat16(self.weights[name], new)
        return new

    def _convertible(self, node: onnx.NodeProto) -> tuple[list[bool], list[bool]]:
        """Whether each input, and each output, can be bfloat16: all that are not of a fixed type, or none."""
        counts = len(node.input), len(node.output)
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
        typed = zip((*node.input, *node.output), (*input_types, *output_types), strict=True)
        float_types = {kind for name, kind in typed if kind in allowed and (name in self.floats or name in self.weights)}
        if any("tensor(bfloat16)" not in allowed[kind] for kind in float_types):
            self._skip(node)
            return none
        return [kind in allowed for kind in input_types], [kind in allowed for kind in output_types]

    def _skip(self, node: onnx.NodeProto) -> None:
        self.skipped.append(Fact.of("quantize.float_no_bfloat16", node.name, operator=node.op_type, opset=OPSET))


def as_bfloat16(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """A float32 tensor rounded to bfloat16."""
    bits = np.ascontiguousarray(to_array(tensor), dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return make_tensor(name, TensorProto.BFLOAT16, tuple(tensor.dims), rounded.tobytes(), raw=True)


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Float32 tensors that are computed or inputs."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    constant = {tensor.name for tensor in graph.initializer}
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in constant
    }
