from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.onnx_session import create_session
from compress.quantize.qdq.keep_float_weights import block_weight_quantization


def sandwich(op: str, weight: np.ndarray, shape: tuple[int, ...], **attributes: int) -> onnx.ModelProto:
    """An operator with a float weight between Q/DQ pairs, one of its output channels a thousand times the others."""
    parts = {"s": np.float32(0.02), "z": np.uint8(120), "t": np.float32(0.05), "o": np.uint8(0), "w": weight}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node(op, ["d", "w"], ["c"], "layer", **attributes),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("QuantizeLinear", ["r", "t", "o"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "t", "o"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    initializers = [numpy_helper.from_array(np.asarray(item), name) for name, item in parts.items()]
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, None)], initializers
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def blocked(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    indexed = graphs.to_ir(model)
    names = block_weight_quantization(indexed)
    return graphs.to_proto(indexed), names


def kernels(model: onnx.ModelProto, folder: Path) -> set[str]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node}


def weights(*shape: int) -> np.ndarray:
    result = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    result[0] *= 1000
    return result


CASES = {
    "Conv": (weights(4, 6, 3, 3), (1, 6, 8, 8), {}),
    "grouped": (weights(6, 1, 3, 3), (1, 6, 8, 8), {"group": 6}),
    "Gemm": (weights(5, 6), (3, 6), {"transB": 1}),
    "upright": (weights(6, 5), (3, 6), {}),
}


def operator(case: str) -> str:
    return {"grouped": "Conv", "upright": "Gemm"}.get(case, case)


@pytest.mark.parametrize("case", CASES)
def test_the_runtime_makes_integers_of_what_is_to_stay_in_float_and_a_fence_keeps_it(case: str, tmp_path: Path) -> None:
    weight, shape, attributes = CASES[case]
    model = sandwich(operator(case), weight, shape, **attributes)
    integer = {"QLinearConv", "QGemm"}
    assert integer & kernels(model, tmp_path)  # without a fence, in this version of the runtime
    model, names = blocked(model)
    assert names == ("layer",)
    onnx_files.check(model)
    assert not integer & kernels(model, tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_a_fence_changes_no_value(case: str) -> None:
    weight, shape, attributes = CASES[case]
    model = sandwich(operator(case), weight, shape, **attributes)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    before = onnx_session.run(create_session(model, optimised=False), x)
    model, _ = blocked(model)
    np.testing.assert_array_equal(before, onnx_session.run(create_session(model, optimised=False), x))
    np.testing.assert_allclose(before, onnx_session.run(create_session(model), x), atol=0.051)  # one step of the output


def test_fenced_twice_is_fenced_once() -> None:
    weight, shape, attributes = CASES["Conv"]
    model = sandwich("Conv", weight, shape, **attributes)
    model, _ = blocked(model)
    again, names = blocked(model)
    assert names == ()
    assert again.SerializeToString() == model.SerializeToString()


def test_other_readers_keep_their_own() -> None:
    weight, shape, _ = CASES["Conv"]
    model = sandwich("Conv", weight, shape)
    model.graph.node.insert(3, helper.make_node("Relu", ["d"], ["other"], "other"))
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, None))
    model, _ = blocked(model)
    assert [node.op_type for node in model.graph.node].count("DequantizeLinear") == 3
    onnx_files.check(model)


def test_what_has_integer_weights_is_left() -> None:
    weight, shape, _ = CASES["Conv"]
    model = sandwich("Conv", weight, shape)
    model.graph.node[2].input[1] = "elsewhere"
    assert blocked(model)[1] == ()
