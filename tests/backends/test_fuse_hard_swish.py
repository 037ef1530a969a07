"""The spelled out HardSwish becomes one operator of the same function; other clips stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends import onnx_session
from compress.backends.fuse_hard_swish import fuse_hard_swish

TEXT = """<ir_version: 8, opset_import: ["" : {opset}]>
g (float[N, 4] x) => (float[N, 4] y)
<float three = {{3.0}}, float zero = {{0.0}}, float top = {{{top}}}, float six = {{6.0}}> {{
  sum = Add (x, three)
  cut = Clip (sum, zero, top)
  {end}
}}"""
SWISH = "product = Mul (x, cut)\n  y = Div (product, six)"
SIGMOID = "y = Div (cut, six)"


@pytest.mark.parametrize(("end", "operator"), [(SWISH, "HardSwish"), (SIGMOID, "HardSigmoid")])
def test_the_operators_become_one_of_the_same_function(end: str, operator: str) -> None:
    model = graphs.to_ir(onnx.parser.parse_model(TEXT.format(opset=17, top=6.0, end=end)))
    x = np.linspace(-5, 5, 40, dtype=np.float32).reshape(10, 4)
    (before,) = onnx_session.create_session(model, optimised=False).run(None, {"x": x})
    fuse_hard_swish(model)
    assert [node.op_type for node in model.graph if node.op_type != "Constant"] == [operator]
    (after,) = onnx_session.create_session(model, optimised=False).run(None, {"x": x})
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(("opset", "top"), [(13, 6.0), (17, 5.0)])
def test_an_operator_set_without_it_and_another_limit_stay(opset: int, top: float) -> None:
    model = graphs.to_ir(onnx.parser.parse_model(TEXT.format(opset=opset, top=top, end=SWISH)))
    fuse_hard_swish(model)
    assert [node.op_type for node in model.graph] == ["Add", "Clip", "Mul", "Div"]
