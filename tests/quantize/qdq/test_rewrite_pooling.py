from __future__ import annotations

import numpy as np
import onnx
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.quantize.qdq.rewrite_pooling import quantize_before_maxpool


def rounded_pool(extra_reader: bool = False) -> onnx.ModelProto:
    """Relu → MaxPool → Q → DQ → a sum of it with itself; with an extra reader the pool's result is used exactly as well."""
    value = lambda name: make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4)  # noqa: E731
    nodes = [
        make_node("Relu", ["x"], ["r"], "relu"),
        make_node("MaxPool", ["r"], ["m"], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        make_node("QuantizeLinear", ["m", "s", "z"], ["q"], "round"),
        make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "back"),
        make_node("Add", ["d", "m" if extra_reader else "d"], ["y"], "sum"),
    ]
    stored = [from_array(np.array(0.05, np.float32), "s"), from_array(np.array(3, np.uint8), "z")]
    graph = make_graph(nodes, "g", [value("x")], [value("y")], stored)
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)


def test_rounding_moves_before_the_maximum_and_changes_no_number() -> None:
    model = rounded_pool()
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 9)).astype(np.float32) * 9
    expected = onnx_session.run(onnx_session.create_session(model), x)
    indexed = graphs.to_ir(model)
    quantize_before_maxpool(indexed)
    model = graphs.to_proto(indexed)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Relu", "QuantizeLinear", "DequantizeLinear", "MaxPool", "Add"]
    np.testing.assert_array_equal(onnx_session.run(onnx_session.create_session(model), x), expected)


def test_a_maximum_that_is_also_read_exactly_stays() -> None:
    model = rounded_pool(extra_reader=True)
    indexed = graphs.to_ir(model)
    quantize_before_maxpool(indexed)
    assert graphs.to_proto(indexed).SerializeToString() == model.SerializeToString()
