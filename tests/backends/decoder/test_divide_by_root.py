"""RMS normalisation as a division: the same numbers, and one fused operator in ONNX Runtime."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import parser

from compress.backends import onnx_graph as graphs
from compress.backends.decoder.divide_by_root import divide_by_root

GRAPH = """<ir_version: 9, opset_import: ["" : 18]>
norm (float[N, L, 8] x) => (float[N, L, 8] y)
<float[8] w = {1, 2, 3, 4, 5, 6, 7, 8}, float two = {2}, float eps = {0.00001}, int64[1] axis = {-1}> {
  squares = Pow(x, two)
  mean = ReduceMean<keepdims = 1>(squares, axis)
  sum = Add(mean, eps)
  root = Sqrt(sum)
  inverse = Reciprocal(root)
  scaled = Mul(x, inverse)
  y = Mul(w, scaled)
}"""


def run(model, x, optimized=""):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = optimized
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )[0]


def test_the_numbers_stay_and_the_runtime_fuses_them(tmp_path):
    proto = parser.parse_model(GRAPH)
    model = ir.from_proto(proto)
    assert divide_by_root(model) == 1
    divided = graphs.to_proto(model)
    onnx.checker.check_model(divided)
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    np.testing.assert_allclose(run(divided, x, str(tmp_path / "fused.onnx")), run(proto, x), rtol=1e-5)
    assert [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node] == ["SimplifiedLayerNormalization"]
    assert divide_by_root(model) == 0
