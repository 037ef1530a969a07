"""Conversion between ONNX protocol buffers and `onnx_ir` models, and operations on the latter.

Graph passes use an `onnx_ir.Model`, in which a value has its producer, its consumers, its shape and its constant. ONNX
Runtime's quantizer and `onnx.checker` need a `ModelProto`, see `to_proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from compress.backends.transposed_weights import is_matrix
from compress.core.language import gettext


def to_ir(model: onnx.ModelProto) -> ir.Model:
    """Convert a model to `onnx_ir`.

    Float `Constant` nodes and transposes of constant matrices become initializers, so that weights of all exporters have the
    same form. Nodes that are not in topological order, as in files of some converters, are sorted.
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
    _fold_transposed(indexed)
    return indexed


def _fold_transposed(model: ir.Model) -> None:
    """Replace each transpose of an initializer, a matrix, by an initializer with the name of the result, in place."""
    graph = model.graph
    for node in [node for node in graph if node.op_type == "Transpose" and node.domain == ""]:
        source, result, perm = node.inputs[0], node.outputs[0], node.attributes.get("perm")
        if source is None or not is_matrix(source) or result.is_graph_output() or (perm and list(perm.value) != [1, 0]):
            continue
        name, array = str(result.name), constant(source)
        assert array is not None  # noqa: S101  # it is an initializer
        result.name = f"{name}_transposed"
        result.replace_all_uses_with(add_initializer(model, name, array.T))
        graph.remove(node, safe=True)
        if not source.uses() and not source.is_graph_output():
            del graph.initializers[str(source.name)]


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
    """Tensors that a node, its branches and its loop bodies read."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        bodies = attribute.value if attribute.type == ir.AttributeType.GRAPHS else (attribute.value,)
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            for body in bodies:
                yield from (value for value in body.outputs if value is not None)
                for inner in body:
                    yield from _values_read(inner)


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Convert a model to a protocol buffer with the same nodes, names and order as that of `to_ir`."""
    proto = ir.to_proto(model)
    constants = set(model.graph.initializers)  # onnx_ir adds their types to value_info, which is redundant
    value_info = [value for value in proto.graph.value_info if value.name not in constants]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(value_info)
    del proto.metadata_props[:]  # onnx_ir sorts them
    onnx.helper.set_model_props(proto, dict(model.metadata_props))
    return proto


def find_value(model: ir.Model, name: str) -> ir.Value:
    """A tensor by name.

    Raises:
        KeyError: There is no tensor of that name.
    """
    return ir.convenience.create_value_mapping(model.graph)[name]


def input_names(node: ir.Node) -> tuple[str, ...]:
    """Names of the tensors that a node reads; the name of an omitted optional input is empty."""
    return tuple("" if value is None else str(value.name) for value in node.inputs)


def output_names(node: ir.Node) -> tuple[str, ...]:
    """Names of the tensors that a node writes."""
    return tuple(str(value.name) for value in node.outputs)


def attributes(node: ir.Node) -> dict[str, Any]:
    """Attribute values of a node by name: numbers, tuples, text, tensors."""
    return {attribute.name: attribute.value for attribute in node.attributes.values()}


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Content of an initializer or `Constant` node, read-only; None for a computed tensor or no tensor."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def dims(value: ir.Value | None) -> list[int] | None:
    """Shape of a tensor, with 0 for a free dimension; None if unknown."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else 0 for size in value.shape]


def with_shapes(model: ir.Model) -> ir.Model:
    """A copy in which every tensor has its inferred type and shape."""
    inferred = ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model.clone()).model
    constants = inferred.graph.initializers
    for name in model.graph.initializers:  # restore their order, which the pass changes
        constants[name] = constants.pop(name)
    return inferred


def float_tensors(model: ir.Model) -> list[ir.Value]:
    """Float32 inputs and computed tensors of a network with inferred types, see `with_shapes`."""
    values = (*model.graph.inputs, *(value for node in model.graph for value in node.outputs))
    return [value for value in values if value.dtype == ir.DataType.FLOAT and not value.is_initializer()]


def with_initializers(model: ir.Model, arrays: Mapping[str, np.ndarray]) -> ir.Model:
    """A copy with some weights replaced, in float32; all other tensors are shared with the original."""
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
    """A copy that also outputs the named tensors; with `only`, it outputs nothing else, and runtimes skip unused nodes."""
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
    """Set the name of the node that writes a tensor.

    Raises:
        ValueError: No node writes it.
    """
    node = value.producer()
    if node is None:
        msg = gettext("no node writes {name!r}", name=value.name)
        raise ValueError(msg)
    node.name = name


def set_constant(value: ir.Value, array: np.ndarray) -> None:
    """Replace the content of an initializer, in place."""
    value.const_value = ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=value.name)
