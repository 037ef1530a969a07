"""The indexed ONNX network that graph passes work on, and what they share.

Passes take an `onnx_ir.Model`, in which a value knows its producer, its consumers, its shape and its constant. ONNX Runtime's
quantizer and `onnx.checker` take a `ModelProto`: `to_proto`. Files are read and written by `onnx_files`, run by `onnx_session`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass


def to_ir(model: onnx.ModelProto) -> ir.Model:
    """The network indexed: producers, consumers, shapes and constants by value. Float `Constant` nodes become initializers.

    A weight that an exporter wrote into a `Constant` node is thus a weight like any other. Nodes in an order that they cannot
    run in, as some converters write them, are sorted.
    """
    indexed: ir.Model = ir.from_proto(model)
    graph = indexed.graph
    if not _is_sorted(graph):
        graph.sort()
    for node in [node for node in graph if node.op_type == "Constant" and node.domain == ""]:
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or not tensor.shape or node.outputs[0].is_graph_output():
            continue
        name = str(node.outputs[0].name)
        node.outputs[0].name = f"{name}_constant"
        node.outputs[0].replace_all_uses_with(add_initializer(indexed, name, tensor.numpy()))
        graph.remove(node, safe=True)
    return indexed


def _is_sorted(graph: ir.Graph) -> bool:
    computed = set[ir.Value | None]()
    for node in graph:
        for value in _values_read(node):
            producer = value.producer()
            if producer is not None and producer.graph is graph and value not in computed:
                return False
        computed.update(node.outputs)
    return True


def _values_read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, and what its branches and loop bodies read."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        bodies = attribute.value if attribute.type == ir.AttributeType.GRAPHS else (attribute.value,)
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            for body in bodies:
                yield from (value for value in body.outputs if value is not None)
                for inner in body:
                    yield from _values_read(inner)


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The protocol buffer of an indexed network; nodes, names, order and contents are those of the one it was made from."""
    proto = ir.to_proto(model)
    constants = set(model.graph.initializers)  # onnx_ir declares types of initializers, which their tensors hold already
    declared = [value for value in proto.graph.value_info if value.name not in constants]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(declared)
    del proto.metadata_props[:]  # onnx_ir sorts them
    onnx.helper.set_model_props(proto, dict(model.metadata_props))
    return proto


def find_value(model: ir.Model, name: str) -> ir.Value:
    """The tensor of that name.

    Raises:
        KeyError: There is none.
    """
    return ir.convenience.create_value_mapping(model.graph)[name]


def input_names(node: ir.Node) -> tuple[str, ...]:
    """Names of the tensors that a node reads; an optional input that is left out is empty."""
    return tuple("" if value is None else str(value.name) for value in node.inputs)


def output_names(node: ir.Node) -> tuple[str, ...]:
    """Names of the tensors that a node writes."""
    return tuple(str(value.name) for value in node.outputs)


def attributes(node: ir.Node) -> dict[str, Any]:
    """Values of a node's attributes by name: numbers, tuples, text, tensors."""
    return {attribute.name: attribute.value for attribute in node.attributes.values()}


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Contents of an initializer or of a `Constant` node, read-only; None for a computed tensor or no tensor."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def dims(value: ir.Value | None) -> list[int] | None:
    """Shape of a tensor, 0 where a dimension is free; None where the shape is not known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else 0 for size in value.shape]


def with_shapes(model: ir.Model) -> ir.Model:
    """A copy in which every tensor has its inferred type and shape."""
    inferred = ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model.clone()).model
    constants = inferred.graph.initializers
    for name in model.graph.initializers:  # the pass changes their order
        constants[name] = constants.pop(name)
    return inferred


def float_tensors(model: ir.Model) -> list[ir.Value]:
    """Float32 inputs and results of a network whose types are inferred (`with_shapes`); no constants."""
    values = (*model.graph.inputs, *(value for node in model.graph for value in node.outputs))
    return [value for value in values if value.dtype == ir.DataType.FLOAT and not value.is_initializer()]


def with_initializers(model: ir.Model, arrays: Mapping[str, np.ndarray]) -> ir.Model:
    """A copy with some weights replaced, as float32; all other tensors are shared with the original."""
    copy = model.clone()
    for name, array in arrays.items():
        if (value := copy.graph.initializers.get(name)) is not None:
            value.const_value = ir.tensor(np.ascontiguousarray(array, np.float32), name=name)
    return copy


def add_initializer(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    """Add a constant to the network, in place."""
    tensor = ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    model.graph.register_initializer(value)
    return value


def with_outputs(model: ir.Model, names: Iterable[str], *, only: bool = False) -> ir.Model:
    """A copy that also outputs the named tensors; with `only` it outputs nothing else, and a runtime skips the rest."""
    copy = model.clone()
    outputs = copy.graph.outputs
    values = ir.convenience.create_value_mapping(copy.graph)
    additions = [values[name] for name in dict.fromkeys(names)]
    if only:
        outputs.clear()
    present = {value.name for value in outputs}
    outputs.extend(value for value in additions if value.name not in present)
    return copy


def make_node(
    operator: str,
    inputs: Sequence[ir.Value | None],
    outputs: Sequence[str],
    name: str = "",
    **settings: float | str,
) -> ir.Node:
    """A node to insert with `graph.insert_before` or `graph.insert_after`; `settings` are its attributes."""
    return ir.node(operator, list(inputs), settings, outputs=[ir.Value(name=output) for output in outputs], name=name)


def name_producer(value: ir.Value, name: str | None) -> None:
    """Name the node that writes a tensor."""
    node = value.producer()
    if node is None:
        msg = f"no node writes {value.name!r}"
        raise ValueError(msg)
    node.name = name


def set_constant(value: ir.Value, array: np.ndarray) -> None:
    """Change the contents of an initializer, in place."""
    value.const_value = ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=value.name)
