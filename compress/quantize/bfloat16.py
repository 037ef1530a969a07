"""bfloat16: float32's range with 8 bits of precision, so that nothing overflows and no range needs to be found.

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

from compress.core.record import Skipped

OPSET = 22
"""The first in which Conv takes bfloat16."""
ROUNDED = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Concat", "Split", "Relu",
     "MaxPool", "Expand", "Shape"}
)  # fmt: skip
"""Operators whose result is rounded where what they read is."""


def to_bfloat16(model: onnx.ModelProto, *, exclude: Sequence[str] = ()) -> tuple[onnx.ModelProto, tuple[Skipped, ...]]:
    """The network in bfloat16.

    Args:
        model: Float network; left as it was.
        exclude: Names of nodes that stay in float32.

    Returns:
        A copy, and the nodes that ONNX has no bfloat16 for.
    """
    names = {node.output[0]: node.name for node in model.graph.node}
    made = onnx.version_converter.convert_version(model, OPSET)
    made.ir_version = max(made.ir_version, 10)
    for node in made.graph.node:  # the converter keeps tensors' names and drops those of nodes
        node.name = node.name or names.get(node.output[0], "")
    writing = _Writing(made, frozenset(exclude))
    writing.write()
    return made, tuple(writing.skipped)


def emulate_bfloat16(model: onnx.ModelProto, *, exclude: Sequence[str] = ()) -> onnx.ModelProto:
    """The same arithmetic in float32 kernels: every tensor rounded to bfloat16 and widened again.

    Args:
        model: Float network; left as it was.
        exclude: Names of nodes that stay in float32; their weights are not rounded.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    floats = _floats(model)
    kept = {name for node in graph.node if node.name in exclude for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept]
    for tensor in weights:
        narrow = as_bfloat16(tensor, f"{tensor.name}_bf16")
        graph.node.insert(0, make_node("Cast", [narrow.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.append(narrow)
        graph.initializer.remove(tensor)
    outputs = {value.name for value in graph.output}
    given = {value.name for value in graph.input} & floats
    wanted = [
        name for node in graph.node if node.op_type not in (*ROUNDED, "Cast") for name in node.output if name in floats
    ]  # fmt: skip
    for name in [*given, *wanted]:
        _round(graph, name, last=name in outputs)
    return made


def _round(graph: onnx.GraphProto, name: str, *, last: bool) -> None:
    """Put a pair of casts behind a tensor, in place."""
    exact = f"{name}_exact" if last else name
    rounded = name if last else f"{name}_rounded"
    place = 0
    for number, node in enumerate(graph.node):
        if name in node.output:
            node.output[:] = [exact if one == name else one for one in node.output]
            place = number + 1
        elif name in node.input:
            node.input[:] = [rounded if one == name else one for one in node.input]
    casts = (
        make_node("Cast", [exact], [f"{name}_bf16"], to=TensorProto.BFLOAT16),
        make_node("Cast", [f"{name}_bf16"], [rounded], to=TensorProto.FLOAT),
    )
    for number, cast in enumerate(casts):
        graph.node.insert(place + number, cast)


class _Writing:
    """Turns a graph into bfloat16, in place."""

    def __init__(self, model: onnx.ModelProto, exclude: frozenset[str]) -> None:
        self.graph = model.graph
        self.opsets = {one.domain: one.version for one in model.opset_import}
        self.exclude = exclude
        self.floats = _floats(model)
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self.nodes: list[onnx.NodeProto] = []
        self.narrow: dict[str, onnx.TensorProto] = {}
        self.wide: dict[str, onnx.TensorProto] = {}
        self.skipped: list[Skipped] = []

    def write(self) -> None:
        """All nodes, inputs and outputs."""
        graph = self.graph
        renamed = {value.name: f"{value.name}_bf16" for value in graph.input if value.name in self.floats}
        for name, new in renamed.items():
            self.nodes.append(make_node("Cast", [name], [new], to=TensorProto.BFLOAT16))
        for node in graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            self.floats |= {renamed[name] for name in renamed}
            self._node(node)
        for value in graph.output:
            if value.name in self.floats:
                for node in self.nodes:
                    node.output[:] = [f"{name}_bf16" if name == value.name else name for name in node.output]
                    node.input[:] = [f"{name}_bf16" if name == value.name else name for name in node.input]
                self.nodes.append(make_node("Cast", [f"{value.name}_bf16"], [value.name], to=TensorProto.FLOAT))
        others = [tensor for tensor in graph.initializer if tensor.name not in self.weights]
        del graph.initializer[:], graph.node[:]
        graph.initializer.extend([*others, *self.narrow.values(), *self.wide.values()])
        graph.node.extend(self.nodes)
        graph.ClearField("value_info")

    def _node(self, node: onnx.NodeProto) -> None:
        """One node, with casts around it where it stays in float32."""
        takes, gives = self._types(node)
        before, after = [], []
        for place, name in enumerate(node.input):
            if name in self.weights:
                node.input[place] = self._weight(name, narrow=takes[place])
            elif name in self.floats and not takes[place]:
                node.input[place] = f"{node.output[0]}_in{place}"
                before.append(make_node("Cast", [name], [node.input[place]], to=TensorProto.FLOAT))
        for place, name in enumerate(node.output):
            if name in self.floats and not gives[place]:
                node.output[place] = f"{name}_wide"
                after.append(make_node("Cast", [node.output[place]], [name], to=TensorProto.BFLOAT16))
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.BFLOAT16
            elif attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT and gives[0]:
                attribute.t.CopyFrom(as_bfloat16(attribute.t, attribute.t.name))
        self.nodes += [*before, node, *after]

    def _weight(self, name: str, *, narrow: bool) -> str:
        kept = self.narrow if narrow else self.wide
        new = f"{name}_bf16" if narrow else name
        if name not in kept:
            kept[name] = as_bfloat16(self.weights[name], new) if narrow else self.weights[name]
        return new

    def _types(self, node: onnx.NodeProto) -> tuple[list[bool], list[bool]]:
        """Whether each input, and each output, may be bfloat16; all of them or none but for those of a fixed type."""
        count = (len(node.input), len(node.output))
        if node.name and node.name in self.exclude:
            return [False] * count[0], [False] * count[1]
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opsets.get(node.domain, OPSET), node.domain)
        except onnx.defs.SchemaError:
            self._left(node)
            return [False] * count[0], [False] * count[1]
        allowed = {each.type_param_str: set(each.allowed_type_strs) for each in schema.type_constraints}
        used = [
            [parts[min(place, len(parts) - 1)].type_str for place in range(size)]
            for parts, size in zip((schema.inputs, schema.outputs), count, strict=True)
        ]
        names = zip((*node.input, *node.output), (*used[0], *used[1]), strict=True)
        variables = {each for name, each in names if each in allowed and (name in self.floats or name in self.weights)}
        if any("tensor(bfloat16)" not in allowed[each] for each in variables):
            self._left(node)
            return [False] * count[0], [False] * count[1]
        return [each in allowed for each in used[0]], [each in allowed for each in used[1]]

    def _left(self, node: onnx.NodeProto) -> None:
        reason = f"ONNX has no bfloat16 for it up to opset {OPSET}; it stays in float32"
        self.skipped.append(Skipped(what=f"{node.op_type} {node.name}".rstrip(), reason=reason))


def as_bfloat16(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """A float32 tensor rounded to bfloat16."""
    bits = np.ascontiguousarray(to_array(tensor), dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return make_tensor(name, TensorProto.BFLOAT16, tuple(tensor.dims), rounded.tobytes(), raw=True)


def _floats(model: onnx.ModelProto) -> set[str]:
    """Float32 tensors that are computed or given."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    constant = {tensor.name for tensor in graph.initializer}
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in constant
    }
