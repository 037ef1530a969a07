from __future__ import annotations

import numpy as np
import onnx
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.fusion.gelu import fuse_gelu

X = np.linspace(-4, 4, 64, dtype=np.float32).reshape(8, 8)
HEAD = "d = Div(x, r) e = Erf(d) a = Add(e, one) "
FORMS = {
    "half of the sum": HEAD + "h = Mul(half, a) y = Mul(x, h)",
    "half of the result": HEAD + "h = Mul(x, a) y = Mul(h, half)",
    "half of the input": HEAD + "h = Mul(x, half) y = Mul(h, a)",
    "product in place of a division": "d = Mul(x, i) e = Erf(d) a = Add(one, e) h = Mul(x, a) y = Mul(half, h)",
}
OTHERS = {
    "another factor": HEAD + "h = Mul(x, a) y = Mul(h, one)",
    "another tensor": HEAD + "b = Relu(x) h = Mul(b, a) y = Mul(h, half)",
    "another root": "d = Div(x, one) e = Erf(d) a = Add(e, one) h = Mul(x, a) y = Mul(h, half)",
}


def network(body: str) -> onnx.ModelProto:
    constants = {"r": 2**0.5, "i": 0.5**0.5, "one": 1.0, "half": 0.5}
    proto = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["": 18]> agraph (float[n, 8] x) => (float[n, 8] y) {{ {body} }}'
    )
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.float32(value), name) for name, value in constants.items())
    return proto


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_every_order_of_the_factors_becomes_one_node(body: str) -> None:
    model = graphs.to_ir(network(body))
    expected = onnx_session.run(onnx_session.create_session(model, optimised=False), X)
    assert fuse_gelu(model) == 1
    assert [node.op_type for node in model.graph].count("Gelu") == 1
    np.testing.assert_allclose(onnx_session.run(onnx_session.create_session(model), X), expected, atol=1e-6)


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_other_products_stay(body: str) -> None:
    assert fuse_gelu(graphs.to_ir(network(body))) == 0
