from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact
from compress.core.sentences import render, render_subject
from compress.quantize.calibration import observe as calibrate
from compress.quantize.qdq import quantize_graph as int8
from compress.quantize.qdq.placement import PLACEMENTS, WEIGHTED, activations_to_calibrate, match_keep_float
from compress.quantize.target_requirements import needs_7bit_weights
from tests.export.tiny import SPEC, split

RUNTIMES = tuple(PLACEMENTS)


@pytest.fixture(scope="module")
def model(exported: Path) -> onnx.ModelProto:
    return onnx_files.load(exported)


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    names = activations_to_calibrate(graphs.to_ir(model), RUNTIMES)
    histograms = calibrate.observe(graphs.to_ir(model), names, [{"input": split(64, 3).inputs.numpy()}], counts=False)
    return {name: (variant.low, variant.high) for name, variant in histograms.items()}


def quantized(model: onnx.ModelProto, ranges: int8.Ranges, runtime: str, **changes: bool) -> onnx.ModelProto:
    return int8.quantize_static(
        graphs.to_ir(model), ranges, runtime, int8.QDQOptions(**{"per_channel": True, "reduce_range": False} | changes)
    )


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def weights_of(model: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Stored int8 weight and its scale, by layer."""
    values = constants(model)
    maker = {node.output[0]: node for node in model.graph.node}
    result = {}
    for node in model.graph.node:
        if node.op_type in WEIGHTED:
            weight, scale = maker[node.input[1]].input[:2]
            result[node.name] = (values[weight], values[scale])
    return result


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_all_weights_are_stored_as_int8_and_nowhere_else(model: onnx.ModelProto, ranges: int8.Ranges, runtime: str) -> None:
    built = quantized(model, ranges, runtime)
    stored = weights_of(built)
    assert set(stored) == {"stem.0", "depthwise.0", "point.0", "wide", "head"}
    assert all(weight.dtype == np.int8 for weight, _ in stored.values())
    assert all(value.size < 100 for value in constants(built).values() if value.dtype == np.float32)


def test_weights_are_scaled_by_channel(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    floats = constants(model)
    for layer, (weight, scale) in weights_of(quantized(model, ranges, "onnxruntime")).items():
        expected = floats[f"{layer}.weight"]
        assert scale.shape == (len(expected),)
        restored = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        assert np.abs(restored - expected).max() <= scale.max() * 0.51
        np.testing.assert_allclose(scale, np.abs(expected).reshape(len(expected), -1).max(1) / 127.5, rtol=0.01)


def test_one_scale_a_tensor_on_request(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    stored = weights_of(quantized(model, ranges, "onnxruntime", per_channel=False))
    assert all(scale.size == 1 for _, scale in stored.values())


def test_reduced_range_leaves_one_bit_free(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    stored = weights_of(quantized(model, ranges, "onnxruntime", reduce_range=True))
    assert max(np.abs(weight.astype(int)).max() for weight, _ in stored.values()) <= 64


def activation_types(model: onnx.ModelProto) -> tuple[set[np.dtype], bool]:
    """Types of activations' zero points, and whether all are zero."""
    values = constants(model)
    zeros = [values[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {zero.dtype for zero in zeros}, not any(zero.any() for zero in zeros)


def test_tensorrt_gets_int8_around_zero(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    assert activation_types(quantized(model, ranges, "tensorrt")) == ({np.dtype(np.int8)}, True)


def test_onnxruntime_gets_uint8_with_zero_points(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    assert activation_types(quantized(model, ranges, "onnxruntime")) == ({np.dtype(np.uint8)}, False)


def test_openvino_gets_its_input_around_zero_and_the_rest_unsigned(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    built = quantized(model, ranges, "openvino")
    values = constants(built)
    zeros = {node.input[0]: values[node.input[2]] for node in built.graph.node if node.op_type == "QuantizeLinear"}
    given = zeros.pop(built.graph.input[0].name)
    assert (given.dtype, given.item()) == (np.dtype(np.int8), 0)
    assert {zero.dtype for zero in zeros.values()} == {np.dtype(np.uint8)}


def test_openvino_multiplies_attention_in_integers_and_others_do_not(tmp_path: Path) -> None:
    import torch
    from torchvision.models import VisionTransformer

    from compress.backends.export_onnx import export_onnx

    torch.manual_seed(0)
    network = VisionTransformer(8, 4, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=4).eval()
    export_onnx(network, SPEC.with_size(8, 8), tmp_path / "vit.onnx")
    vit = onnx_files.load(tmp_path / "vit.onnx")
    x = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    histograms = calibrate.observe(
        graphs.to_ir(vit), activations_to_calibrate(graphs.to_ir(vit), RUNTIMES), [{"input": x}], counts=False
    )
    result = {name: (variant.low, variant.high) for name, variant in histograms.items()}
    for runtime, expected in (("onnxruntime", 0), ("openvino", 2), ("tensorrt", 0)):
        built = quantized(vit, result, runtime)
        values, maker = constants(built), {node.output[0]: node for node in built.graph.node}
        pairs = [[maker[name] for name in node.input] for node in built.graph.node if node.op_type == "MatMul"]
        integers = [pair for pair in pairs if all(variant.op_type == "DequantizeLinear" for variant in pair)]
        computed = [pair for pair in integers if all(variant.input[0] not in values for variant in pair)]
        assert len(computed) == expected
    built = quantized(vit, result, "openvino")
    softmax = next(node.output[0] for node in built.graph.node if node.op_type == "Softmax")
    rounding = next(node for node in built.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == softmax)
    assert constants(built)[rounding.input[2]].dtype == np.uint8


def test_openvino_gets_all_activations_as_asked(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    built = int8.quantize_static(graphs.to_ir(model), ranges, "openvino", int8.QDQOptions(symmetric=False))
    assert activation_types(built) == ({np.dtype(np.uint8)}, False)


def test_tensorrt_quantizes_only_what_weighted_operators_read(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    built = quantized(model, ranges, "tensorrt")
    readers: dict[str, set[str]] = {}
    for node in built.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    for node in built.graph.node:
        if node.op_type == "DequantizeLinear":
            assert readers[node.output[0]] & set(WEIGHTED)
    assert "DequantizeLinear" not in {node.op_type for node in built.graph.node if "logits" in node.output}


def test_runtime_computes_everything_in_int8(model: onnx.ModelProto, ranges: int8.Ranges, tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it warns that an optimized file is for this machine only, which is meant
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnx_files.save(quantized(model, ranges, "onnxruntime"), tmp_path / "model.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert operators.count("QLinearConv") == 4
    assert {"QGemm", "QLinearAdd", "QLinearGlobalAveragePool"} <= set(operators)
    assert not {"Conv", "FusedConv", "Gemm", "Add", "Clip", "Relu"} & set(operators)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_answers_stay_close(model: onnx.ModelProto, ranges: int8.Ranges, runtime: str) -> None:
    x = split(64, 5).inputs.numpy()
    floats = onnx_session.run(onnx_session.create_session(model), x)
    built = quantized(model, ranges, runtime, reduce_range=needs_7bit_weights())
    runner = onnx_session.create_session(built)
    step = len(x) if PLACEMENTS[runtime].batch is None else 1
    ints = np.concatenate([onnx_session.run(runner, x[start : start + step]) for start in range(0, len(x), step)])
    assert np.linalg.norm(floats - ints) < 0.1 * np.linalg.norm(floats)


def test_answers_are_float_and_not_tied_to_256_levels(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    built = quantized(model, ranges, "onnxruntime")
    (last,) = [node for node in built.graph.node if "logits" in node.output]
    assert last.op_type == "Gemm"
    stored = onnx.numpy_helper.to_array(
        next(variant for variant in built.graph.initializer if variant.name == maker_input(built, last.input[2]))
    )
    assert stored.dtype == np.int32
    answers = onnx_session.run(onnx_session.create_session(built), split(120, 5).inputs.numpy())
    assert len(np.unique(answers)) > 300


def maker_input(model: onnx.ModelProto, name: str) -> str:
    return next(node.input[0] for node in model.graph.node if name in node.output)


def test_network_given_is_left_as_it_was(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    before = model.SerializeToString()
    quantized(model, ranges, "onnxruntime")
    assert model.SerializeToString() == before


def test_excluded_nodes_stay_float_and_are_listed(model: onnx.ModelProto, ranges: int8.Ranges) -> None:
    excluded = match_keep_float(graphs.to_ir(model), ("wide", "he*"))
    assert excluded == ("wide", "head")
    built = int8.quantize_static(
        graphs.to_ir(model), ranges, "onnxruntime", int8.QDQOptions(reduce_range=True, exclude=excluded)
    )
    assert int8.float_layers(graphs.to_ir(built), "onnxruntime", excluded) == (
        Fact.of("quantize.float_by_keep_float", "wide", operator="Conv", runtime="onnxruntime"),
        Fact.of("quantize.float_by_keep_float", "head", operator="Gemm", runtime="onnxruntime"),
    )


def test_product_of_two_activations_stays_float_with_its_reason() -> None:
    value = lambda name, shape: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)  # noqa: E731
    nodes = [
        onnx.helper.make_node("Transpose", ["input"], ["turned"], name="turn", perm=[0, 2, 1]),
        onnx.helper.make_node("MatMul", ["input", "turned"], ["logits"], name="attention"),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [value("input", [1, 4, 5])], [value("logits", [1, 4, 4])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    histograms = calibrate.observe(
        graphs.to_ir(model),
        activations_to_calibrate(graphs.to_ir(model), RUNTIMES),
        [{"input": np.ones((1, 4, 5), np.float32)}],
        counts=False,
    )
    built = quantized(model, {name: (variant.low, variant.high) for name, variant in histograms.items()}, "onnxruntime")
    (skip,) = int8.float_layers(graphs.to_ir(built), "onnxruntime", ())
    assert (skip.code, skip.subject) == ("quantize.float_activation_product", "attention")
    assert "product of two activations" in render(skip)


def test_spec_is_the_models(model: onnx.ModelProto) -> None:
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]] == list(SPEC.shape)


def deconvolving() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(size=(6, 3, 3, 3)),
        "u": random.normal(size=(6, 4, 2, 2)),
        "v": random.normal(size=(2, 4, 1, 1)),
    }
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"], "first", pads=[1] * 4),
        onnx.helper.make_node("ConvTranspose", ["a", "u"], ["b"], "up", strides=[2, 2]),
        onnx.helper.make_node("Conv", ["b", "v"], ["y"], "last"),
    ]
    value = onnx.helper.make_tensor_value_info
    initializers = [onnx.numpy_helper.from_array(entry.astype(np.float32), name) for name, entry in weights.items()]
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", 1, ["n", 3, 8, 8])], [value("y", 1, ["n", 2, 16, 16])], initializers
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_an_operator_that_the_runtime_has_no_integers_for_stays_in_float_with_its_reason() -> None:
    model = deconvolving()
    ranges = dict.fromkeys(activations_to_calibrate(graphs.to_ir(model), ("onnxruntime",)), (-4.0, 4.0))
    built = int8.quantize_static(graphs.to_ir(model), ranges, "onnxruntime")
    kinds = {tensor.data_type for tensor in built.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT}
    (skip,) = int8.float_layers(graphs.to_ir(built), "onnxruntime", ())
    assert skip == Fact.of("quantize.float_no_kernel", "up", operator="ConvTranspose", runtime="onnxruntime")
    assert render(skip) == "ONNX Runtime has no int8 kernel of ConvTranspose"
    for_tensorrt = int8.quantize_static(graphs.to_ir(model), dict.fromkeys("xab", (-4.0, 4.0)), "tensorrt")
    assert stored_kinds(for_tensorrt) == {onnx.TensorProto.INT8}


def stored_kinds(model: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}


def test_a_sum_between_integers_that_was_to_stay_in_float_says_that_it_does_not(model, ranges) -> None:
    add = next(node.name for node in model.graph.node if node.op_type == "Add")
    built = quantized(model, ranges, "onnxruntime")
    (skip,) = int8.float_layers(graphs.to_ir(built), "onnxruntime", (add,))
    assert (skip.code, skip.subject) == ("quantize.keep_float_without_effect", add)
    assert render_subject(skip) == f"keep_float of Add {add} (onnxruntime)"
    assert "add its neighbours" in render(skip)
    assert int8.float_layers(graphs.to_ir(built), "onnxruntime", ()) == ()


def gemm_of_integers(s_x: float, s_w: float, bias: float) -> onnx.ModelProto:
    """A matrix product of dequantized integers with a float bias of two channels."""
    scales = {"s_x": s_x, "s_w": s_w}
    tensors = [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in scales.items()]
    tensors += [
        onnx.numpy_helper.from_array(np.ones((2, 3), np.int8), "w_q"),
        onnx.numpy_helper.from_array(np.array([bias, -bias], np.float32), "b"),
    ]
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["x_q", "s_x"], ["x"]),
        onnx.helper.make_node("DequantizeLinear", ["w_q", "s_w"], ["w"]),
        onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="head", transB=1),
    ]
    x = onnx.helper.make_tensor_value_info("x_q", onnx.TensorProto.INT8, [1, 3])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "gemm", [x], [y], tensors))


def with_integer_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    indexed = graphs.to_ir(model)
    int8._quantize_biases(indexed)
    return graphs.to_proto(indexed)


def test_a_bias_is_stored_as_int32_where_its_scale_allows() -> None:
    model = gemm_of_integers(0.5, 0.25, 2.0)
    model = with_integer_biases(model)
    integers = {name: value for name, value in constants(model).items() if value.dtype == np.int32}
    assert [value.tolist() for value in integers.values()] == [[16, -16]]
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(("s_x", "s_w", "bias"), [(1e-30, 1e-30, 1.0), (1e-5, 1e-6, 1.0)], ids=["underflow", "past int32"])
def test_a_bias_that_int32_cannot_hold_stays_in_float(s_x: float, s_w: float, bias: float) -> None:
    model = gemm_of_integers(s_x, s_w, bias)
    assert list(with_integer_biases(model).graph.node) == list(model.graph.node)


@pytest.mark.parametrize("operator", ["Relu", "Clip"])
def test_an_activation_that_gives_the_output_is_not_lost(operator: str) -> None:
    """Its Q/DQ pair stands for it: without the pair, negative values would come out."""
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), "w")
    zero = onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        onnx.helper.make_node(operator, ["h", "zero"] if operator == "Clip" else ["h"], ["y"], name="last"),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, ("n", size)) for name, size in (("x", 6), ("y", 4))]
    constants = [weight, zero] if operator == "Clip" else [weight]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    x = np.random.default_rng(1).normal(size=(32, 6)).astype(np.float32)
    names = activations_to_calibrate(graphs.to_ir(model), RUNTIMES)
    histograms = calibrate.observe(graphs.to_ir(model), names, [{"x": x}], counts=False)
    own_ranges = {name: (each.low, each.high) for name, each in histograms.items()}
    built = quantized(model, own_ranges, "onnxruntime", reduce_range=needs_7bit_weights())
    exact, rounded = (onnx_session.run(onnx_session.create_session(each), x) for each in (model, built))
    assert float(rounded.min()) >= 0
    np.testing.assert_allclose(exact, rounded, atol=0.1)


def test_a_branch_reads_the_result_of_a_relu_and_not_the_tensor_before() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3, 1)).astype(np.float32)
    parts = [onnx.parser.parse_graph(f"{name} () => (float[N, 4, T] {name}_out) {{ {name}_out = {op} }}") for name, op in (
        ("kept", "Identity(y)"), ("negated", "Neg(y)"))]  # fmt: skip
    graph = onnx.parser.parse_graph(
        "net (float[N, 3, T] x, bool[] c) => (float[N, 4, T] z) { z0 = Conv(x, w) y = Relu(z0) z = If(c) }"
    )
    for index, node in enumerate(graph.node):
        node.name = f"node_{index}"
    graph.node[2].attribute.extend(
        onnx.helper.make_attribute(name, part) for name, part in zip(("then_branch", "else_branch"), parts, strict=True)
    )
    graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    feeds = {"x": rng.normal(size=(1, 3, 5)).astype(np.float32), "c": np.array(True)}
    (expected,) = onnx_session.create_session(model, threads=1).run(None, feeds)
    built = int8.quantize_static(
        graphs.to_ir(model), {"x": (-4.0, 4.0), "y": (0.0, float(expected.max()))}, "onnxruntime", int8.QDQOptions()
    )
    assert any(node.op_type == "QuantizeLinear" for node in built.graph.node)
    (found,) = onnx_session.create_session(built, threads=1).run(None, feeds)
    assert found.min() >= 0
    np.testing.assert_allclose(found, expected, atol=0.1)
