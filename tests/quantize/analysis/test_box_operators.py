"""Operators of a detector of two stages that stay in float."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from compress.backends import onnx_graph as graphs
from compress.quantize.analysis.box_operators import box_operators


def graph(*, regions: bool) -> onnx.ModelProto:
    """image ─ Conv ─ Relu ─┬─ RoiAlign ─ Flatten ─ Gemm ─ Mul ─► y;   Conv ─ Add ─ boxes of RoiAlign, both from the maps."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["maps"], name="backbone"),
        helper.make_node("Relu", ["maps"], ["active"], name="relu"),
        helper.make_node("Conv", ["active", "w2"], ["raw"], name="first_stage"),
        helper.make_node("Add", ["raw", "one"], ["decoded"], name="decode"),
        helper.make_node("Reshape", ["decoded", "shape"], ["boxes"], name="rows"),
    ]
    if regions:
        nodes.append(helper.make_node("RoiAlign", ["active", "boxes", "images"], ["features"], name="regions"))
    else:
        nodes.append(helper.make_node("Add", ["active", "decoded"], ["features"], name="sum"))
    nodes += [
        helper.make_node("Flatten", ["features"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "w3"], ["logits"], name="second_stage"),
        helper.make_node("Mul", ["logits", "one"], ["y"], name="scale"),
    ]
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 1, 1], [0.1] * 12),
        helper.make_tensor("w2", TensorProto.FLOAT, [4, 4, 1, 1], [0.1] * 16),
        helper.make_tensor("w3", TensorProto.FLOAT, [4, 2], [0.1] * 8),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 4]),
        helper.make_tensor("images", TensorProto.INT64, [1], [0]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 1, 1])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])]
    return helper.make_model(
        helper.make_graph(nodes, "detector", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 18)]
    )


def test_what_computes_boxes_and_what_follows_the_last_weights_stays_float() -> None:
    assert box_operators(graphs.to_ir(graph(regions=True))) == ("decode", "rows", "scale")


def test_a_network_without_regions_has_none() -> None:
    assert box_operators(graphs.to_ir(graph(regions=False))) == ()
