"""Pools as runtimes have them in int8: a mean over height and width as global pooling, and maxima of integers."""

from __future__ import annotations

import onnx
from onnx.helper import make_node
from onnx.numpy_helper import to_array

SPATIAL = (2, 3)


def reducemean_to_gap(model: onnx.ModelProto) -> None:
    """Replace ReduceMean over height and width by GlobalAveragePool, flattened where it drops the axes; in place."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *onnx.shape_inference.infer_shapes(model).graph.value_info)
    }
    for node in [one for one in graph.node if one.op_type == "ReduceMean" and ranks.get(one.input[0]) == 4]:
        given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        listed = to_array(constants[node.input[1]]).ravel() if len(node.input) > 1 and node.input[1] in constants else ()
        axes = tuple(sorted(int(axis) % 4 for axis in given.get("axes", listed)))
        if axes != SPATIAL:
            continue
        place = list(graph.node).index(node)
        x, y = node.input[0], node.output[0]
        graph.node.remove(node)
        pooled = y if given.get("keepdims", 1) else f"{y}_pooled"
        graph.node.insert(place, make_node("GlobalAveragePool", [x], [pooled], node.name))
        if pooled != y:
            graph.node.insert(place + 1, make_node("Flatten", [pooled], [y], f"{node.name}/flatten"))


def quantize_before_maxpool(graph: onnx.GraphProto) -> None:
    """Round before a MaxPool instead of behind it, in place: x → MaxPool → Q → DQ becomes x → Q → DQ → MaxPool.

    Rounding is monotone, so the largest of the rounded is the rounded largest: max_i Q(x_i) = Q(max_i x_i). The numbers stay
    the same, the convolution before the pool can write int8, and the pool reads a quarter of the bytes.
    """
    maker = {name: node for node in graph.node for name in node.output}
    for pool in [node for node in graph.node if node.op_type == "MaxPool" and len(node.output) == 1]:
        readers = [node for node in graph.node if pool.output[0] in node.input]
        if len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
            continue
        (rounded,) = readers
        back = [node for node in graph.node if rounded.output[0] in node.input]
        x, y = pool.input[0], pool.output[0]
        if x not in maker or maker[x].op_type == "DequantizeLinear" or any(one.op_type != "DequantizeLinear" for one in back):
            continue
        for node in (rounded, *back):
            graph.node.remove(node)
        exact = f"{y}_exact"
        place = list(graph.node).index(pool)
        for name in [one.output[0] for one in back]:
            for node in graph.node:
                node.input[:] = [y if given == name else given for given in node.input]
        rounded.input[0], back[0].output[0], pool.input[0] = x, exact, exact
        graph.node.insert(place, rounded)
        graph.node.insert(place + 1, back[0])
