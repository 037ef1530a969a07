from __future__ import annotations

import numpy as np
import onnx
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.quantize.analysis.sqnr import decibels
from compress.quantize.weight_only.blockwise import quantize_blocks
from compress.quantize.weight_only.matmul_nbits import blockwise_layers
from tests.quantize.encoder import feeds

RNG = np.random.default_rng(0)
W = RNG.standard_normal((80, 48)).astype(np.float32)


def layer(operator: str) -> onnx.ModelProto:
    body = {"MatMul": "y = MatMul(x, w)", "Gemm": "y = Gemm(x, w, b)"}[operator]
    proto = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["": 18]> agraph (float[n, 80] x) => (float[n, 48] y) {{ [a] {body} }}"""
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(W, "w"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(48, dtype=np.float32), "b"))
    return proto


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
@pytest.mark.parametrize(("bits", "symmetric"), [(4, False), (4, True), (8, False)])
def test_the_runtime_computes_the_dequantized_weight(operator: str, bits: int, symmetric: bool) -> None:
    model = blockwise_layers(graphs.to_ir(layer(operator)), bits, block=32, symmetric=symmetric)
    x = RNG.standard_normal((5, 80)).astype(np.float32)
    weight = quantize_blocks(W.T, bits, 32, symmetric=symmetric).dequantize()
    expected = x @ weight.T + (np.arange(48) if operator == "Gemm" else 0)
    found = onnx_session.run(onnx_session.create_session(model), x)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_an_encoder_shrinks_and_keeps_its_answers(encoder_model: onnx.ModelProto) -> None:
    model = blockwise_layers(graphs.to_ir(encoder_model), 4, block=32, accuracy_level=0)
    assert sum(node.op_type == "MatMulNBits" for node in model.graph) == 13
    assert len(graphs.to_proto(model).SerializeToString()) < 0.35 * len(encoder_model.SerializeToString())
    answers = [onnx_session.create_session(network).run(None, feeds(4, 12))[0] for network in (encoder_model, model)]
    assert decibels(*answers) > 10
