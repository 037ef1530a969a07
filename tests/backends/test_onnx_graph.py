from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array
from torch import nn
from torchvision.models import mobilenet_v3_small, shufflenet_v2_x0_5, squeezenet1_1

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec

W = np.arange(12, dtype=np.float32).reshape(3, 4)


def small(*, in_constant_node: bool = False) -> onnx.ModelProto:
    """X (N, 3) times W, then ReLU; W is an initializer or the value of a `Constant` node."""
    weight = from_array(W, "w")
    nodes = [make_node("MatMul", ["x", "w"], ["y"], "layer"), make_node("Relu", ["y"], ["z"], "relu")]
    if in_constant_node:
        nodes.insert(0, make_node("Constant", [], ["w"], "constant", value=weight))
    x, z = (make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size]) for name, size in (("x", 3), ("z", 4)))
    graph = make_graph(nodes, "small", [x], [z], [] if in_constant_node else [weight])
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    "build", [squeezenet1_1, *(pytest.param(each, marks=pytest.mark.slow) for each in (mobilenet_v3_small, shufflenet_v2_x0_5))]
)
def test_indexed_model_is_written_back_bit_for_bit(build: type[nn.Module], tmp_path: Path) -> None:
    spec = image_spec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3, classes=("a", "b"))
    path = tmp_path / "model.onnx"
    export_onnx(build(num_classes=2).eval(), spec, path)
    indexed = graphs.to_ir(onnx_files.load(path))
    assert graphs.to_proto(indexed).SerializeToString() == path.read_bytes()
    assert graphs.to_proto(indexed.clone()).SerializeToString() == path.read_bytes()
    onnx_files.save(indexed, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_weight_in_a_constant_node_becomes_an_initializer_of_the_same_name() -> None:
    model = graphs.to_ir(small(in_constant_node=True))
    assert list(model.graph.initializers) == ["w"]
    assert [node.op_type for node in model.graph] == ["MatMul", "Relu"]
    np.testing.assert_array_equal(graphs.constant(graphs.find_value(model, "w")), W)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(onnx_session.run(onnx_session.create_session(model), x), x @ W)


def test_nodes_in_an_order_that_cannot_run_are_sorted() -> None:
    model = small()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    indexed = graphs.to_ir(model)
    assert [node.op_type for node in indexed.graph] == ["MatMul", "Relu"]
    assert [node.op_type for node in indexed.clone().graph] == ["MatMul", "Relu"]


def test_a_node_that_only_a_branch_reads_is_put_before_it() -> None:
    make, value = helper.make_node, helper.make_tensor_value_info
    branch = helper.make_graph([make("Identity", ["doubled"], ["out"])], "b", [], [value("out", TensorProto.FLOAT, [2])])
    nodes = [make("If", ["flag"], ["y"], then_branch=branch, else_branch=branch), make("Add", ["x", "x"], ["doubled"])]
    inputs = [value("x", TensorProto.FLOAT, [2]), value("flag", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", TensorProto.FLOAT, [2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    indexed = graphs.to_ir(model)
    assert [node.op_type for node in indexed.graph] == ["Add", "If"]
    onnx.checker.check_model(graphs.to_proto(indexed))
    assert [node.op_type for node in graphs.to_ir(graphs.to_proto(indexed)).graph] == ["Add", "If"]


def test_replaced_weights_do_not_touch_the_original() -> None:
    model = graphs.to_ir(small())
    doubled = graphs.with_initializers(model, {"w": 2 * W, "absent": W})
    np.testing.assert_array_equal(graphs.constant(graphs.find_value(model, "w")), W)
    np.testing.assert_array_equal(graphs.constant(graphs.find_value(doubled, "w")), 2 * W)


@pytest.mark.parametrize(("only", "names"), [(False, ["z", "y"]), (True, ["y"])])
def test_tensors_become_outputs(only: bool, names: list[str]) -> None:
    model = graphs.with_outputs(graphs.to_ir(small()), ["y"], only=only)
    assert [output.name for output in onnx_session.create_session(model).get_outputs()] == names


def test_inferred_shapes_have_zero_for_free_dimensions() -> None:
    model = graphs.to_ir(small())
    assert graphs.dims(graphs.find_value(model, "y")) is None
    assert graphs.dims(graphs.find_value(graphs.with_shapes(model), "y")) == [0, 4]


def test_nodes_are_inserted_and_consumers_follow() -> None:
    model = graphs.to_ir(small())
    relu = model.graph.node("relu")
    offset = graphs.add_initializer(model, "offset", np.float32(-4) * np.ones(4, np.float32))
    added = graphs.make_node("Add", [relu.inputs[0], offset], ["shifted"], "add")
    model.graph.insert_before(relu, added)
    relu.replace_input_with(0, added.outputs[0])
    assert [node.name for node in graphs.find_value(model, "y").consumers()] == ["add"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(onnx_session.run(onnx_session.create_session(model), x), np.maximum(x @ W - 4, 0))
