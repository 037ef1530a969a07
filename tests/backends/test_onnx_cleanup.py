from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.onnx_cleanup import shorten_names, strip

A, B = np.full((2, 2), 2, np.float32), np.full((2, 2), 3, np.float32)
X = np.ones((1, 2), np.float32)


def products(*weights: tuple[str, np.ndarray], **attributes: object) -> onnx.ModelProto:
    """X times each weight in turn, with documentation, metadata and inferred shapes."""
    names = ["input", *(f"product_{name}" for name, _ in weights[:-1]), "output"]
    nodes = [
        make_node("Gemm", [names[index], name], [names[index + 1]], f"layer_{name}", doc_string="by hand", **attributes)
        for index, (name, _) in enumerate(weights)
    ]
    value = lambda name: make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2], "a value")  # noqa: E731
    stored = [from_array(array, name) for name, array in weights]
    for part in (*nodes, *stored):
        part.metadata_props.add(key="trace", value="module")
    stored[0].doc_string = "a weight"
    graph = make_graph(nodes, "g", [value("input")], [value("output")], stored, "a graph", [value(names[1])])
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10, doc_string="a model")


def cleaned(model: onnx.ModelProto, *, shorten: bool = False) -> onnx.ModelProto:
    indexed = graphs.to_ir(model)
    strip(indexed)
    if shorten:
        shorten_names(indexed)
    return graphs.to_proto(indexed)


def outputs(model: onnx.ModelProto) -> np.ndarray:
    return onnx_session.run(onnx_session.create_session(model), X)


def test_documentation_metadata_and_inferred_shapes_go() -> None:
    model = products(("a", A), ("b", B))
    after = cleaned(model)
    for text in (b"by hand", b"trace", b"a weight", b"a value", b"a graph", b"a model"):
        assert text in model.SerializeToString()
        assert text not in after.SerializeToString()
    assert not after.graph.value_info
    np.testing.assert_array_equal(outputs(after), outputs(model))


def test_equal_constants_are_stored_once_under_the_first_name_and_unused_ones_go() -> None:
    model = products(("a", A), ("b", B), ("c", A.copy()), ("d", B.astype(np.float64).astype(np.float32)))
    model.graph.initializer.extend([from_array(A, "unused"), from_array(A.astype(np.int8), "other_type")])
    after = cleaned(model)
    assert [tensor.name for tensor in after.graph.initializer] == ["a", "b"]
    np.testing.assert_array_equal(outputs(after), outputs(model))


def test_equal_bytes_of_another_type_or_shape_are_not_shared() -> None:
    model = products(("a", np.zeros((2, 2), np.float32)), ("b", np.zeros((2, 2), np.float32)))
    zero = from_array(np.zeros(2, np.float32), "zeros")
    model.graph.initializer.append(zero)
    model.graph.node[1].input.append("zeros")
    assert {tensor.name for tensor in cleaned(model).graph.initializer} == {"a", "zeros"}


def test_constant_that_is_an_output_stays() -> None:
    model = products(("a", A), ("b", A))
    model.graph.output.append(make_tensor_value_info("b", onnx.TensorProto.FLOAT, [2, 2]))
    after = cleaned(model, shorten=True)
    session = onnx_session.create_session(after)
    assert [value.name for value in session.get_outputs()] == ["output", "b"]
    np.testing.assert_array_equal(session.run(None, {"input": X})[1], A)


def test_tensors_get_short_names_in_the_order_of_reading() -> None:
    model = products(("w4", A), ("long.name", B), alpha=2.0, transB=1)
    after = cleaned(model, shorten=True)
    assert [tensor.name for tensor in after.graph.initializer] == ["w3", "w4"]  # an old name of another tensor
    assert [list(node.input) for node in after.graph.node] == [["input", "w3"], ["t5", "w4"]]
    assert [node.name for node in after.graph.node] == ["layer_w4", "layer_long.name"]
    np.testing.assert_array_equal(outputs(after), outputs(model))


@pytest.mark.parametrize(("value", "left"), [("NOTSET", False), ("SAME_UPPER", True)])
def test_attributes_with_the_default_value_go(value: str, left: bool) -> None:
    node = make_node("MaxPool", ["input"], ["output"], "pool", kernel_shape=[2, 2], auto_pad=value)
    ends = [make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 1, None, None]) for name in ("input", "output")]
    model = make_model(make_graph([node], "g", ends[:1], ends[1:]), opset_imports=[make_opsetid("", 18)], ir_version=10)
    names = {attribute.name for attribute in cleaned(model, shorten=True).graph.node[0].attribute}
    assert names == {"kernel_shape", *(("auto_pad",) if left else ())}


def test_branches_keep_the_names_that_they_read() -> None:
    value = make_tensor_value_info("b_out", onnx.TensorProto.FLOAT, ["n", 2])
    branch = make_graph([make_node("Add", ["hidden", "hidden"], ["b_out"], "inner")], "branch", [], [value])
    model = products(("a", A))
    model.graph.node[0].output[0] = "hidden"
    condition = from_array(np.array(True), "condition")
    model.graph.initializer.append(condition)
    model.graph.node.append(make_node("If", ["condition"], ["output"], "choice", then_branch=branch, else_branch=branch))
    np.testing.assert_array_equal(outputs(cleaned(model, shorten=True)), outputs(model))
