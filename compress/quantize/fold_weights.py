"""Fold weights that a file stores as integers, Cast(W_q) · s, into float weights.

Other makers' files store integers in that form to be small and compute in float. Such a network has nothing to quantize until
the chain is computed, because its linear layers read a product.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs

ARITHMETIC = frozenset({"Mul", "Sub"})


def fold_stored_weights(model: ir.Model) -> int:
    """Replace chains of Cast, Mul and Sub of constants by float constants, in place; returns the number of weights."""
    folded = 0
    for node in [node for node in model.graph if node.op_type == "Cast" and node.domain == ""]:
        array = _integers(node)
        if array is None:
            continue
        last, value = node, array.astype(np.float32)
        while (reader := _only_reader(last)) is not None:
            left, right = (value if source is last.outputs[0] else graphs.constant(source) for source in reader.inputs)
            if left is None or right is None:
                break
            value = np.asarray(left * right if reader.op_type == "Mul" else left - right, np.float32)
            last = reader
        output = last.outputs[0]
        name = str(output.name)
        output.name = f"{name}_folded"
        output.replace_all_uses_with(graphs.add_initializer(model, name, value))
        _remove(model, last)
        folded += 1
    return folded


def _integers(node: ir.Node) -> np.ndarray | None:
    """The stored integers, at least a matrix, that a Cast makes float32."""
    source = node.inputs[0]
    if source is None or not source.is_initializer() or graphs.attributes(node).get("to") != ir.DataType.FLOAT.value:
        return None
    array = graphs.constant(source)
    is_matrix = array is not None and array.ndim > 1 and array.dtype.kind in "iu" and array.dtype.itemsize == 1
    return array if is_matrix and not node.outputs[0].is_graph_output() else None


def _only_reader(node: ir.Node) -> ir.Node | None:
    readers = [*node.outputs[0].consumers()]
    is_one = len(readers) == 1 and readers[0].op_type in ARITHMETIC and not readers[0].outputs[0].is_graph_output()
    return readers[0] if is_one else None


def _remove(model: ir.Model, node: ir.Node | None) -> None:
    """Remove a node that nothing reads, and those before it."""
    while node is not None and not node.outputs[0].uses():
        before = next((value.producer() for value in node.inputs if value is not None and value.producer()), None)
        model.graph.remove(node, safe=True)
        node = before
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        if not model.graph.initializers[name].is_graph_output():
            del model.graph.initializers[name]
