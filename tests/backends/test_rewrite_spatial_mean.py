from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.rewrite_spatial_mean import reducemean_to_gap


def mean_of(axes: tuple[int, ...], keepdims: int, rank: int) -> onnx.ModelProto:
    """Relu, then a mean."""
    value = lambda name, size: make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * size)  # noqa: E731
    nodes = [
        make_node("Relu", ["x"], ["r"], "relu"),
        make_node("ReduceMean", ["r", "axes"], ["y"], "mean", keepdims=keepdims),
    ]
    left = rank if keepdims else rank - len(axes)
    graph = make_graph(nodes, "g", [value("x", rank)], [value("y", left)], [from_array(np.array(axes), "axes")])
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(("axes", "keepdims"), [((2, 3), 1), ((-1, -2), 0), ((3, 2), 0)])
def test_spatial_mean_becomes_a_pool_of_the_same_function(axes: tuple[int, ...], keepdims: int) -> None:
    model = graphs.to_ir(mean_of(axes, keepdims, 4))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    mean = np.maximum(x, 0).mean((2, 3), keepdims=bool(keepdims))
    reducemean_to_gap(model)
    assert [node.name for node in model.graph] == ["relu", "mean", *(() if keepdims else ("mean/flatten",))]
    assert "GlobalAveragePool" in {node.op_type for node in model.graph}
    np.testing.assert_allclose(onnx_session.run(onnx_session.create_session(model), x), mean, rtol=1e-6)


@pytest.mark.parametrize(("axes", "rank"), [((1,), 4), ((1, 2), 4), ((1, 2, 3), 4), ((1, 2), 3)])
def test_any_other_mean_stays(axes: tuple[int, ...], rank: int) -> None:
    proto = mean_of(axes, 1, rank)
    model = graphs.to_ir(proto)
    reducemean_to_gap(model)
    assert graphs.to_proto(model).SerializeToString() == proto.SerializeToString()


@pytest.mark.parametrize("keepdims", [0, 1])
def test_axes_of_older_operator_sets_are_an_attribute(keepdims: int) -> None:
    proto = mean_of((2, 3), keepdims, 4)
    del proto.graph.node[1].input[1:], proto.graph.initializer[:]
    proto.graph.node[1].attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
    proto.opset_import[0].version = 13
    model = graphs.to_ir(proto)
    reducemean_to_gap(model)
    assert [node.op_type for node in model.graph][1] == "GlobalAveragePool"


def test_axes_that_are_computed_stay() -> None:
    proto = mean_of((2, 3), 1, 4)
    proto.graph.node[1].input[1] = "computed"
    proto.graph.node.insert(0, make_node("Identity", ["axes"], ["computed"], "copy"))
    model = graphs.to_ir(proto)
    reducemean_to_gap(model)
    assert [node.op_type for node in model.graph] == ["Identity", "Relu", "ReduceMean"]
