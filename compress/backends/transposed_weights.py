"""Store a matrix once where operators read both it and its transpose, and give passes both as constants.

A tied output layer multiplies by the transpose of the embedding table, y = h Eᵀ. Exporters compute Eᵀ in advance and store it
beside E. `share_transposed` stores E alone, with a `Transpose` that every runtime computes once, when it loads the file.
`fold_transposed` is its inverse: passes find both matrices as initializers.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

SMALLEST_MATRIX = 1024
"""Fewest elements of a matrix that is shared: a smaller one saves less than the node takes."""
SHARED_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.INT8, ir.DataType.UINT8)
PRODUCTS = ("MatMul", "MatMulInteger", "Gemm")


def fold_transposed(model: ir.Model) -> None:
    """Replace each transpose of an initializer, a matrix, by an initializer with the name of the result, in place."""
    graph = model.graph
    for node in [node for node in graph if node.op_type == "Transpose" and node.domain == ""]:
        source, result = node.inputs[0], node.outputs[0]
        if source is None or not _is_matrix(source) or result.is_graph_output() or not _is_transposed(node):
            continue
        name = str(result.name)
        result.name = f"{name}_transposed"
        result.replace_all_uses_with(_register(graph, name, _array(source).T))
        graph.remove(node, safe=True)
        if not source.uses() and not source.is_graph_output():
            del graph.initializers[str(source.name)]


def share_transposed(model: ir.Model) -> None:
    """Replace each second factor of a product that is the transpose of another initializer by a `Transpose`, in place."""
    graph = model.graph
    matrices = [value for value in graph.initializers.values() if _is_matrix(value) and _array(value).size >= SMALLEST_MATRIX]
    kinds = {(value.dtype, _array(value).shape) for value in matrices}
    kept: dict[bytes, ir.Value] = {}
    for value in sorted(matrices, key=lambda value: _only_products(value)):
        array = _array(value)
        if (value.dtype, array.shape[::-1]) not in kinds:
            continue
        first = kept.get(_digest(value, array.T))
        if first is not None and first is not value and _only_products(value):
            _compute(graph, value, first)
        else:
            kept[_digest(value, array)] = value


def _compute(graph: ir.Graph, value: ir.Value, source: ir.Value) -> None:
    """Compute an initializer as the transpose of another."""
    name = str(value.name)
    taken = {node.name for node in graph}
    node_name = f"{str(source.name).rpartition('.')[0] or name}/Transpose"
    node = ir.node("Transpose", [source], {"perm": [1, 0]}, outputs=[ir.Value()], name=node_name)
    if node_name in taken:
        node.name = f"{name}/Transpose"
    graph.insert_before(graph[0], node)
    value.replace_all_uses_with(node.outputs[0])
    del graph.initializers[name]
    node.outputs[0].name = name


def _register(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _is_matrix(value: ir.Value) -> bool:
    """Whether a value is a constant matrix that no caller can replace."""
    tensor = value.const_value
    is_constant = value.is_initializer() and not value.is_graph_input() and tensor is not None
    return is_constant and tensor is not None and len(tensor.shape) == 2 and tensor.dtype in SHARED_TYPES


def _is_transposed(node: ir.Node) -> bool:
    perm = node.attributes.get("perm")
    return perm is None or list(perm.value) == [1, 0]


def _only_products(value: ir.Value) -> bool:
    """Whether products alone read a value, as their second factor."""
    uses = value.uses()
    return bool(uses) and not value.is_graph_output() and all(node.op_type in PRODUCTS and index == 1 for node, index in uses)


def _array(value: ir.Value) -> np.ndarray:
    """Content of a value for which `_is_matrix` is true."""
    tensor = value.const_value
    array: np.ndarray = np.empty(0) if tensor is None else tensor.numpy()
    return array


def _digest(value: ir.Value, array: np.ndarray) -> bytes:
    head = f"{value.dtype} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).digest()
