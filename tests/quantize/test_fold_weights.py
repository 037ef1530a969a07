from __future__ import annotations

import numpy as np
import onnx
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.quantize.dynamic.linear_layers import quantize_linear_layers
from compress.quantize.fold_weights import fold_stored_weights

X = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
INTEGERS = np.random.default_rng(1).integers(0, 255, (6, 4)).astype(np.uint8)


def network(body: str) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["": 18]> agraph (float[n, 6] x) => (float[n, 4] y)
        <float[4] s = {{0.1, 0.2, 0.3, 0.4}}, float z = {{128}}> {{ {body} }}"""
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(INTEGERS, "q"))
    return proto


@pytest.mark.parametrize(
    "body",
    [
        "c = Cast<to = 1>(q) w = Mul(c, s) [a] y = MatMul(x, w)",
        "c = Cast<to = 1>(q) d = Sub(c, z) w = Mul(s, d) [a] y = MatMul(x, w)",
    ],
)
def test_a_stored_weight_becomes_a_constant_that_can_be_quantized(body: str) -> None:
    model = graphs.to_ir(network(body))
    expected = onnx_session.run(onnx_session.create_session(model), X)
    assert fold_stored_weights(model) == 1
    assert [node.op_type for node in model.graph] == ["MatMul"]
    np.testing.assert_allclose(onnx_session.run(onnx_session.create_session(model), X), expected, rtol=1e-5)
    assert quantize_linear_layers(model, bits=7) == ("a",)


def test_integers_that_are_no_weights_stay() -> None:
    body = "c = Cast<to = 1>(q) t = Transpose<perm = [1, 0]>(c) e = MatMul(c, t) f = MatMul(e, c) y = MatMul(x, f)"
    model = graphs.to_ir(network(body))
    expected = onnx_session.run(onnx_session.create_session(model), X)
    fold_stored_weights(model)
    np.testing.assert_allclose(onnx_session.run(onnx_session.create_session(model), X), expected, rtol=1e-5)
