"""Small ONNX networks, built by hand."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = ["n", 3, 8, 8]


def model(
    nodes: list[Any], weights: dict[str, np.ndarray], output: str, shape: list[Any] = SHAPE, *, opset: int = 17, ir: int = 8
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def network(channels: int = 4, classes: int = 5, shape: list[Any] = SHAPE) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="head"),
    ]
    weights = {
        "w": random.normal(size=(channels, 3, 3, 3)).astype(np.float32),
        "v": random.normal(size=(channels, classes)).astype(np.float32),
    }
    return model(nodes, weights, "y", shape)


def make_model(
    nodes: list[Any],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
) -> onnx.ModelProto:
    """A network of any inputs and outputs."""
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tensor(name: str, kind: int, shape: list[Any] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def tokens() -> onnx.ModelProto:
    """Two inputs of integers: an int8 table of 9 rows, a mask, a product of 4 × 4."""
    nodes = [
        helper.make_node("Cast", ["table"], ["rows"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["rows", "ids"], ["e"], name="embed"),
        helper.make_node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["m", "last"], ["m3"]),
        helper.make_node("Mul", ["e", "m3"], ["masked"]),
        helper.make_node("MatMul", ["masked", "w"], ["y"], name="head"),
    ]
    weights = {"table": np.ones((9, 4), np.int8), "w": np.ones((4, 4), np.float32), "last": np.array([2])}
    inputs = [tensor(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("ids", "mask")]
    return make_model(nodes, inputs, [tensor("y", TensorProto.FLOAT, None)], weights)


def streaming() -> onnx.ModelProto:
    """A state, a scalar rate, and weights inside the branches: 512 samples at a rate of 16,000, 256 at any other."""

    def branch(name: str, length: int) -> onnx.GraphProto:
        nodes = [
            helper.make_node("MatMul", ["input", f"{name}_w"], [f"{name}_p"], name=f"{name}_product"),
            helper.make_node("Add", [f"{name}_p", "sum"], [f"{name}_y"], name=f"{name}_add"),
        ]
        weight = numpy_helper.from_array(np.ones((length, 4), np.float32), f"{name}_w")
        return helper.make_graph(nodes, name, [], [tensor(f"{name}_y", TensorProto.FLOAT, None)], [weight])

    nodes = [
        constant("rate", np.array(16000)),
        constant("axes", np.array([0])),
        helper.make_node("ReduceSum", ["state", "axes"], ["sum"], keepdims=0, name="sum_state"),
        helper.make_node("Equal", ["sr", "rate"], ["fast"], name="is_fast"),
        helper.make_node("If", ["fast"], ["y"], then_branch=branch("a", 512), else_branch=branch("b", 256), name="by_rate"),
    ]
    inputs = [
        tensor("input", TensorProto.FLOAT, [None, None]),
        tensor("state", TensorProto.FLOAT, [2, None, 4]),
        tensor("sr", TensorProto.INT64, []),
    ]
    return make_model(nodes, inputs, [tensor("y", TensorProto.FLOAT, None)])


def repeated(times: int) -> onnx.ModelProto:
    """A loop that multiplies by 4 × 4 so many times."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["h", "w"], ["next"], name="step"), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [tensor("i", TensorProto.INT64, []), tensor("go", TensorProto.BOOL, []), tensor("h", TensorProto.FLOAT, ["n", 4])],
        [tensor("on", TensorProto.BOOL, []), tensor("next", TensorProto.FLOAT, ["n", 4])],
    )
    nodes = [helper.make_node("Loop", ["times", "true", "x"], ["y"], body=body, name="loop")]
    weights = {"times": np.array(times), "true": np.array(True), "w": np.ones((4, 4), np.float32)}
    return make_model(nodes, [tensor("x", TensorProto.FLOAT, ["n", 4])], [tensor("y", TensorProto.FLOAT, ["n", 4])], weights)


def lines_of_text(height: int = 48) -> onnx.ModelProto:
    """Free height and width, weights in Constant nodes; only one height runs, because that axis is squeezed."""
    nodes = [
        constant("w", np.ones((2, 3, height, 1), np.float32)),
        constant("axes", np.array([2])),
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Squeeze", ["c", "axes"], ["y"], name="squeeze"),
    ]
    return make_model(nodes, [tensor("x", TensorProto.FLOAT, [-1, 3, None, None])], [tensor("y", TensorProto.FLOAT, None)])


def encoder(width: int = 16, vocabulary: int = 10, positions: int = 1024) -> onnx.ModelProto:
    """Embedding, positions, one product per token and their mean: `input_ids` (batch, sequence) to logits (batch, 2)."""
    random = np.random.default_rng(0)
    weights = {
        "table": random.normal(size=(vocabulary, width)).astype(np.float32),
        "positions": random.normal(size=(positions, width)).astype(np.float32),
        "w": random.normal(size=(width, width)).astype(np.float32),
        "v": random.normal(size=(width, 2)).astype(np.float32),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "axis": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["indices"]),
        helper.make_node("Gather", ["positions", "indices"], ["p"], name="embeddings.position"),
        helper.make_node("Gather", ["table", "input_ids"], ["e"], name="embeddings.word"),
        helper.make_node("Add", ["e", "p"], ["x"], name="embeddings/Add"),
        helper.make_node("MatMul", ["x", "w"], ["h"], name="encoder.dense"),
        helper.make_node("ReduceMean", ["h"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "v"], ["logits"], name="head"),
    ]
    ids = tensor("input_ids", TensorProto.INT64, ["batch", "sequence"])
    return make_model(nodes, [ids], [tensor("logits", TensorProto.FLOAT, ["batch", 2])], weights)
