import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from compress.backends import onnx_files, onnx_session
from compress.backends.onnx_session import create_session
from compress.profile.layers.kernel_to_node import MARK, node_origins, nodes_by_kernel, tag_nodes
from tests.profile.onnx_models import model, network


def test_marking_changes_names_and_nothing_else(exported):
    original = onnx_files.load(exported)
    marked = tag_nodes(original)
    onnx.checker.check_model(marked)
    assert [node.op_type for node in marked.graph.node] == [node.op_type for node in original.graph.node]
    inputs = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    assert np.array_equal(
        onnx_session.run(create_session(original), inputs),
        onnx_session.run(create_session(marked), inputs),
    )


def test_nodes_that_no_kernel_is_named_after_join_their_neighbour():
    marked = tag_nodes(network())
    optimized = onnx.ModelProto()
    optimized.CopyFrom(marked)
    del optimized.graph.node[1]  # as if the runtime had fused the ReLU into the convolution
    numbers = nodes_by_kernel(marked, optimized)
    assert numbers["origin0_"] == (0, 1)
    assert sorted(number for found in numbers.values() for number in found) == [0, 1, 2, 3, 4]


def chain(*operators: str) -> onnx.ModelProto:
    """Operators in a row; a convolution has its own weight, the same number of channels and no padding of its own."""
    nodes, weights, last = [], {}, "x"
    for index, operator in enumerate(operators):
        output = f"t{index}"
        if operator == "Conv":
            weights[f"w{index}"] = np.ones((3, 3, 1, 1), np.float32)
            nodes.append(helper.make_node("Conv", [last, f"w{index}"], [output]))
        elif operator in ("QuantizeLinear", "DequantizeLinear"):
            weights |= {"scale": np.float32(0.1), "zero": np.uint8(0)}
            nodes.append(helper.make_node(operator, [last, "scale", "zero"], [output]))
        else:
            nodes.append(helper.make_node(operator, [last], [output]))
        last = output
    return model(nodes, weights, last)


def owners(operators: tuple[str, ...], survivors: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Nodes of each surviving node's kernel, where the runtime keeps these nodes and fuses the others."""
    tagged = tag_nodes(chain(*operators))
    optimized = onnx.ModelProto()
    optimized.CopyFrom(tagged)
    del optimized.graph.node[:]
    optimized.graph.node.extend(tagged.graph.node[index] for index in survivors)
    return {int(MARK.findall(name)[0]): indices for name, indices in nodes_by_kernel(tagged, optimized).items()}


@pytest.mark.parametrize(
    ("operators", "survivors", "expected"),
    [
        (("Conv", "Relu", "Conv"), (0, 2), {0: (0, 1), 2: (2,)}),  # an activation goes to the convolution before it
        (("Abs", "Relu", "Conv"), (0, 2), {0: (0, 1), 2: (2,)}),  # no convolution before it, a weighted one after it: before
        (("Abs", "Relu", "Neg"), (0, 2), {0: (0,), 2: (1, 2)}),  # neither is weighted: the one after it
        (("Relu", "Conv"), (1,), {1: (0, 1)}),  # nothing before it
        (("Conv", "Relu", "Relu", "Abs"), (0, 3), {0: (0, 1, 2), 3: (3,)}),  # down a chain
        (("QuantizeLinear", "DequantizeLinear", "Conv"), (0, 2), {0: (0,), 2: (1, 2)}),  # DQ goes to its reader
        (("Conv", "Abs"), (0,), {0: (0, 1)}),  # the end of the graph
    ],
)
def test_a_fused_node_goes_to_the_kernel_that_would_absorb_it(operators, survivors, expected):
    assert owners(operators, survivors) == expected


def test_a_kernel_that_the_runtime_added_has_no_node():
    tagged = tag_nodes(chain("Abs"))
    optimized = onnx.ModelProto()
    optimized.CopyFrom(tagged)
    optimized.graph.node.append(helper.make_node("ReorderOutput", ["t0"], ["reordered"], name="reorder"))
    assert nodes_by_kernel(tagged, optimized)["reorder"] == ()


def test_every_node_belongs_to_a_kernel_of_the_real_runtime(exported, tmp_path):
    """Whatever the runtime fuses, no node of the file is lost."""
    tagged = tag_nodes(onnx_files.load(exported))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(tagged.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kernels = nodes_by_kernel(tagged, onnx.load(tmp_path / "optimized.onnx"))
    assert {index for nodes in kernels.values() for index in nodes} == set(range(len(tagged.graph.node)))
    operators = [node.op_type for node in tagged.graph.node]
    fused = [{operators[index] for index in nodes} for nodes in kernels.values() if len(nodes) > 1]
    assert {"Conv", "Clip"} in fused


def test_origins_are_in_the_order_of_the_file_with_their_modules(exported):
    loaded = onnx_files.load(exported)
    origins = node_origins(loaded)
    assert [origin.operator for origin in origins] == [node.op_type for node in loaded.graph.node]
    modules = {origin.module for origin in origins if origin.operator in ("Conv", "Gemm")}
    assert modules == {"stem.0", "block.conv", "head"}
    assert {origin.module for origin in node_origins(network())} == {""} or all(
        origin.name for origin in node_origins(network())
    )


def test_names_of_the_graphs_inputs_and_outputs_stay(exported):
    loaded = onnx_files.load(exported)
    tagged = tag_nodes(loaded)
    for side in ("input", "output"):
        assert [value.name for value in getattr(tagged.graph, side)] == [value.name for value in getattr(loaded.graph, side)]
    inner = [name for node in tagged.graph.node for name in node.output]
    outputs = {value.name for value in tagged.graph.output}
    assert all(MARK.match(name) for name in inner if name not in outputs)
    assert loaded.graph.node[0].name != tagged.graph.node[0].name  # a copy: the model itself keeps its names


def test_readers_inside_branches_follow_the_new_names():
    branches = [
        helper.make_graph(
            [helper.make_node(operator, ["r"], [f"{operator}_out"])],
            operator,
            [],
            [helper.make_tensor_value_info(f"{operator}_out", TensorProto.FLOAT, None)],
        )
        for operator in ("Abs", "Neg")
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("ReduceMax", ["r"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    tagged = tag_nodes(model(nodes, {}, "y"))
    inputs = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    assert np.array_equal(onnx_session.run(create_session(tagged), inputs), np.maximum(inputs, 0))


def test_a_fused_node_without_a_name_has_the_module_before_it():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="encoder.intermediate.dense/MatMul"),
        helper.make_node("BiasGelu", ["h", "b"], ["y"], name="Gelu_AddBias_0", domain="com.microsoft"),
    ]
    weights = {"w": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)}
    assert [origin.module for origin in node_origins(model(nodes, weights, "y", ["n", 4]))] == [
        "encoder.intermediate.dense"
    ] * 2
