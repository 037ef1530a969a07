"""Store a matrix once where operators read both it and its transpose.

A tied output layer multiplies by the transpose of the embedding table, y = h Eᵀ. Exporters compute Eᵀ in advance and store it
beside E. `share_transposed` stores E alone, with a `Transpose` that every runtime computes once, when it loads the file.
`onnx_graph.to_ir` is its inverse: passes find both matrices as initializers.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

SMALLEST_MATRIX = 1024
"""Fewest elements of a matrix that is shared: a smaller one saves less than the node takes."""
SHARED_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.INT8, ir.DataType.UINT8)
PRODUCTS = ("MatMul", "MatMulInteger", "Gemm")


def share_transposed(model: ir.Model) -> None:
    """Replace each second factor of a product that is the transpose of another initializer by a `Transpose`, in place."""
    graph = model.graph
    matrices = [value for value in graph.initializers.values() if is_matrix(value) and _array(value).size >= SMALLEST_MATRIX]
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


def is_matrix(value: ir.Value) -> bool:
    """Whether a value is a constant matrix that no caller can replace."""
    tensor = value.const_value
    is_constant = value.is_initializer() and not value.is_graph_input() and tensor is not None
    return is_constant and tensor is not None and len(tensor.shape) == 2 and tensor.dtype in SHARED_TYPES


def _only_products(value: ir.Value) -> bool:
    """Whether products alone read a value, as their second factor."""
    uses = value.uses()
    return bool(uses) and not value.is_graph_output() and all(node.op_type in PRODUCTS and index == 1 for node, index in uses)


def _array(value: ir.Value) -> np.ndarray:
    """Content of a value for which `is_matrix` is true."""
    tensor = value.const_value
    array: np.ndarray = np.empty(0) if tensor is None else tensor.numpy()
    return array


def _digest(value: ir.Value, array: np.ndarray) -> bytes:
    head = f"{value.dtype} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).digest()
