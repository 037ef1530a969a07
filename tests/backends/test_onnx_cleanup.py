from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from compress.backends import onnx_session
from compress.backends.onnx_cleanup import NAME_SCOPES, module_path, reducemean_to_gap


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
    model = mean_of(axes, keepdims, 4)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    mean = np.maximum(x, 0).mean((2, 3), keepdims=bool(keepdims))
    reducemean_to_gap(model)
    assert "ReduceMean" not in {node.op_type for node in model.graph.node}
    np.testing.assert_allclose(onnx_session.run(onnx_session.create_session(model), x), mean, rtol=1e-6)


@pytest.mark.parametrize(("axes", "rank"), [((1,), 4), ((1, 2), 4), ((1, 2, 3), 4), ((1, 2), 3)])
def test_any_other_mean_stays(axes: tuple[int, ...], rank: int) -> None:
    model = mean_of(axes, 1, rank)
    before = model.SerializeToString()
    reducemean_to_gap(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    ("name", "ours", "module"),
    [
        ("/features/features.0/features.0.0/Conv", False, "features.0.0"),
        ("/layer1/layer1.0/conv1/Conv", False, "layer1.0.conv1"),
        ("layer1.0/Add", True, "layer1.0"),
        ("layer1.0.conv1", True, "layer1.0.conv1"),
        ("layer1.0.conv1", False, ""),
        ("Conv_12", True, ""),
        ("node_Conv_3", True, ""),
        ("", True, ""),
    ],
)
def test_names_of_every_exporter_lead_to_the_module(name: str, ours: bool, module: str) -> None:
    assert module_path(make_node("Conv", ["x", "w"], ["y"], name=name), ours=ours) == module


def test_weights_and_scopes_lead_to_the_module() -> None:
    node = make_node("Conv", ["x", "body.3.weight"], ["y"], name="node_Conv_3")
    assert module_path(node, frozenset({"body.3.weight"})) == "body.3"
    entry = node.metadata_props.add()
    entry.key, entry.value = NAME_SCOPES, "['body', 'body.4', 'conv2d']"
    assert module_path(node) == "body.4"
