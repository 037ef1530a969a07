"""A mean over height and width as global pooling, which runtimes have in int8; of a ReduceMean they compute the float one."""

from __future__ import annotations

import onnx
from onnx.helper import make_node
from onnx.numpy_helper import to_array

SPATIAL = (2, 3)


def pool_globally(model: onnx.ModelProto) -> None:
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
