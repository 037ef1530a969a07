from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.core.fact import Fact
from compress.core.sentences import render
from compress.quantize.analysis.float_fallback import INTEGER, FallbackReasons

IMAGE = (1, 4, 8, 8)
ONE, TWO = [IMAGE], [IMAGE, IMAGE]
CASES: dict[str, tuple[list, dict, list]] = {
    **{op: (ONE, {}, []) for op in ("Relu", "Sigmoid", "LeakyRelu", "Softmax", "GlobalAveragePool", "Flatten", "Transpose")},
    **{op: (ONE, {}, []) for op in ("Tanh", "Erf", "HardSigmoid", "HardSwish", "Elu", "Exp", "GlobalMaxPool")},
    **{op: (TWO, {}, []) for op in ("Add", "Mul", "Sub", "Div")},
    "Clip": (ONE, {}, [np.float32(0), np.float32(6)]),
    "AveragePool": (ONE, {"kernel_shape": [2, 2]}, []),
    "MaxPool": (ONE, {"kernel_shape": [2, 2]}, []),
    "Concat": (TWO, {"axis": 1}, []),
    "Reshape": (ONE, {}, [np.array([1, -1])]),
    "Squeeze": ([(1, 4, 1, 1)], {}, [np.array([2, 3])]),
    "Unsqueeze": (ONE, {}, [np.array([0])]),
    "Split": (ONE, {"axis": 1, "num_outputs": 2}, []),
    "Resize": (ONE, {"mode": "nearest"}, [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)]),
    "Slice": (ONE, {}, [np.array([0]), np.array([1])]),
    "Gather": (ONE, {"axis": 1}, [np.array([0])]),
    "DepthToSpace": (ONE, {"blocksize": 2}, []),
    "Expand": ([(1, 4, 1, 1)], {}, [np.array(IMAGE)]),
    "ReduceMean": (ONE, {}, [np.array([2, 3])]),
    "LayerNormalization": (ONE, {}, [np.ones(8, np.float32), np.ones(8, np.float32)]),
    "MatMul": ([(2, 8), (8, 8)], {}, []),
    "Gemm": ([(2, 8), (8, 8)], {}, []),
    "Conv": ([IMAGE, (4, 4, 3, 3)], {}, []),
    "ConvTranspose": ([IMAGE, (4, 4, 3, 3)], {}, []),
}


def between_pairs(op: str, *, kind: type = np.uint8, outputs: bool = True) -> onnx.ModelProto:
    """The operator with every tensor around it through a Q/DQ pair."""
    shapes, attributes, constants = CASES[op]
    nodes, weights, inputs, names, results = [], {}, [], [], []

    def pair(source: str, target: str) -> None:
        weights[f"{target}_s"], weights[f"{target}_z"] = np.float32(0.02), kind(0)
        nodes.append(helper.make_node("QuantizeLinear", [source, f"{target}_s", f"{target}_z"], [f"{target}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{target}_q", f"{target}_s", f"{target}_z"], [target]))

    for place, shape in enumerate(shapes):
        inputs.append(helper.make_tensor_value_info(f"x{place}", TensorProto.FLOAT, shape))
        pair(f"x{place}", f"d{place}")
        names.append(f"d{place}")
    for place, value in enumerate(constants):
        weights[f"c{place}"] = value
        names.append(f"c{place}")
    parts = attributes.get("num_outputs", 1)
    nodes.append(helper.make_node(op, names, [f"y{part}" for part in range(parts)], name="the", **attributes))
    for part in range(parts):
        if outputs:
            pair(f"y{part}", f"r{part}")
        results.append(helper.make_tensor_value_info(f"{'r' if outputs else 'y'}{part}", TensorProto.FLOAT, None))
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "pairs", inputs, results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def optimized(model: onnx.ModelProto, folder: Path) -> list[str]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def the(model: onnx.ModelProto) -> int:
    return next(place for place, node in enumerate(model.graph.node) if node.name == "the")


@pytest.mark.parametrize("op", CASES)
def test_the_table_says_what_the_installed_runtime_has(op: str, tmp_path: Path) -> None:
    """In int8 nothing is dequantized but the results: as many dequantize as outputs, and none before the operator."""
    result = optimized(between_pairs(op), tmp_path)
    results = CASES[op][1].get("num_outputs", 1)
    assert (result.count("DequantizeLinear") == results) == (op in INTEGER), result


def test_every_operator_of_the_table_is_asked_for() -> None:
    assert set(CASES) >= INTEGER


def test_no_kernel_is_the_first_reason() -> None:
    model = between_pairs("Erf")
    reason = FallbackReasons(model).explain(the(model))
    assert reason == Fact.of("quantize.float_no_kernel", "the", operator="Erf")
    assert render(reason) == "ONNX Runtime has no int8 kernel of Erf"


def test_what_is_known_otherwise_goes_first() -> None:
    model = between_pairs("Erf")
    known = Fact.of("quantize.float_by_keep_float", "the", operator="Erf", runtime="onnxruntime")
    assert FallbackReasons(model, {"the": known}).explain(the(model)) is known


def test_a_float_result_is_a_reason_but_for_products(tmp_path: Path) -> None:
    model = between_pairs("Add", outputs=False)
    assert "Add" in optimized(model, tmp_path)
    reason = FallbackReasons(model).explain(the(model))
    assert reason == Fact.of("quantize.float_result", "the", operator="Add")
    assert render(reason) == "its result is float, and ONNX Runtime has an int8 Add only between quantized tensors"
    assert "MatMulIntegerToFloat" in optimized(between_pairs("MatMul", outputs=False), tmp_path)


def test_a_relu_around_zero_does_not_vanish(tmp_path: Path) -> None:
    model = between_pairs("Relu", kind=np.int8)
    assert "Relu" in optimized(model, tmp_path)
    assert FallbackReasons(model).explain(the(model)) == Fact.of("quantize.float_range_too_wide", "the", operator="Relu")


def chain(*nodes: onnx.NodeProto, weights: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes), "chain", [value("x", TensorProto.FLOAT, IMAGE)], [value("y", TensorProto.FLOAT, None)], initializers
    )
    return helper.make_model(graph)


def test_no_pairs_at_all_a_float_input_and_a_weight_alone_are_told_apart() -> None:
    steps = {"s": np.float32(0.1), "z": np.uint8(0), "w": np.ones((4, 4, 1, 1), np.int8), "zw": np.int8(0)}
    model = chain(
        helper.make_node("Relu", ["x"], ["a"], "bare"),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Add", ["d", "x"], ["b"], "half"),
        helper.make_node("DequantizeLinear", ["w", "s", "zw"], ["v"]),
        helper.make_node("Conv", ["b", "v"], ["c"], "conv"),
        helper.make_node("MatMul", ["c", "c"], ["y"], "product"),
        weights=steps,
    )
    reasons = FallbackReasons(model)
    facts = {node.name: reasons.explain(index) for index, node in enumerate(model.graph.node) if node.name}
    assert {name: fact.code for name, fact in facts.items()} == {
        "bare": "quantize.float_input",
        "half": "quantize.float_input",
        "conv": "quantize.float_weight_only",
        "product": "quantize.float_activation_product",
    }
    assert render(facts["bare"]) == "it reads the network's input in float"


def test_our_own_files_say_why_sums_beside_layer_normalisation_are_bare() -> None:
    norm = helper.make_node("LayerNormalization", ["x", "w"], ["a"], "norm")
    model = chain(norm, helper.make_node("Add", ["a", "a"], ["y"], "sum"), weights={"w": np.ones(8, np.float32)})
    assert FallbackReasons(model).explain(1).code == "quantize.float_without_qdq"
    helper.set_model_props(model, {"compress": "0"})
    assert FallbackReasons(model).explain(1).code == "quantize.float_beside_layer_normalization"
