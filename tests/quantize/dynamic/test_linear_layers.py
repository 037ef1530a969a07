from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.dynamic.linear_layers import quantize_linear_layers
from tests.quantize.encoder import feeds


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def run(model: ir.Model | onnx.ModelProto, length: int = 12) -> np.ndarray:
    return onnx_session.create_session(model).run(None, feeds(4, length))[0]


def test_layers_that_read_one_tensor_share_its_quantization(encoder_model: onnx.ModelProto) -> None:
    model = graphs.to_ir(encoder_model)
    names = quantize_linear_layers(model, bits=7)
    onnx_files.check(graphs.to_proto(model))
    found = operators(model)
    assert len(names) == found["MatMulInteger"] == 2 * 6 + 1
    assert found["DynamicQuantizeLinear"] == 2 * 4 + 1  # query, key and value read one
    assert found["MatMul"] == 4  # products of two activations stay in float
    for length in (5, 12, 48):
        assert decibels(run(encoder_model, length), run(model, length)) > 20


def test_excluded_layers_stay_in_float_and_names_stay(encoder_model: onnx.ModelProto) -> None:
    model = graphs.to_ir(encoder_model)
    before = [str(node.name) for node in model.graph if node.op_type in ("MatMul", "Gemm")]
    (head,) = (str(node.name) for node in model.graph if node.op_type == "Gemm")
    names = quantize_linear_layers(model, exclude=[head])
    assert head not in names
    assert operators(model)["Gemm"] == 1
    assert set(names) < set(before)
    assert set(before) <= {str(node.name) for node in model.graph}


@pytest.mark.parametrize("bits", [7, 8])
def test_integers_have_the_range_of_their_bits(encoder_model: onnx.ModelProto, bits: int) -> None:
    model = graphs.to_ir(encoder_model)
    quantize_linear_layers(model, bits=bits)
    weights = [np.asarray(graphs.constant(node.inputs[1])) for node in model.graph if node.op_type == "MatMulInteger"]
    assert {np.abs(weight).max() for weight in weights} == {2 ** (bits - 1) - 1}
    scales = [value for name, value in model.graph.initializers.items() if name.endswith("_s")]
    assert all(len(np.asarray(graphs.constant(value))) > 1 for value in scales)


def test_a_weight_of_several_layers_is_stored_once() -> None:
    text = """<ir_version: 9, opset_import: ["": 18]>
        shared (float[n, 8] x) => (float[n, 8] y) <float[8, 8] w = {}> {{ [a] t = MatMul(x, w) [b] y = MatMul(t, w) }}"""
    values = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    proto = onnx.parser.parse_model(text.format("{" + ",".join(map(str, values)) + "}"))
    model = graphs.to_ir(proto)
    assert quantize_linear_layers(model, bits=7) == ("a", "b")
    integers = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT8]
    assert len(integers) == 1
    assert "w" not in model.graph.initializers
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    assert (
        decibels(x @ values.reshape(8, 8) @ values.reshape(8, 8), onnx_session.run(onnx_session.create_session(model), x)) > 20
    )
