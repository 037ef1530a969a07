"""Layers in a graph: with a bias, quantized dynamically, side by side, and missing."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from compress.backends.decoder.find_layers import find_layer, joint_results, layer_input, layer_result, read_rows
from compress.backends.onnx_session import create_session
from compress.core.errors import ConversionError

GRAPH = """<ir_version: 9, opset_import: ["" : 18]>
layers (float[N, 4] x) => (float[N, 2] a, float[N, 2] b, float[N, 2] c)
<float[4, 6] w, int8[4, 6] wq, float[6] bias, int64[2] shape> {
  product = MatMul(x, w)
  biased = Add(product, bias)
  rows = Reshape(biased, shape)
  a, b, c = Split<axis = 1, num_outputs = 3>(rows)
  q, s, z = DynamicQuantizeLinear(rows)
  integers = MatMulInteger(q, wq, z)
  cast = Cast<to = 1>(integers)
  scaled = Mul(cast, s)
  other = Add(scaled, bias)
  twice = Relu(other)
  again = Neg(other)
}"""


@pytest.fixture
def model():
    graph = ir.from_proto(parser.parse_model(GRAPH))
    for node, name in zip(graph.graph, ("a.joint/MatMul", "a.joint/Add", "", "", "", "a.int8"), strict=False):
        node.name = name
    return graph


def test_results_include_the_bias_and_scales(model):
    assert layer_result(find_layer(model, "a.joint")).name == "biased"
    assert layer_result(find_layer(model, "a.int8")).name == "other"


def test_inputs_are_those_before_quantization(model):
    assert layer_input(find_layer(model, "a.joint")).name == "x"
    assert layer_input(find_layer(model, "a.int8")).name == "rows"


def test_a_joint_layer_is_split_in_three(model):
    assert [value.name for value in joint_results(find_layer(model, "a.joint"))] == ["a", "b", "c"]
    with pytest.raises(ConversionError, match="not split"):
        joint_results(find_layer(model, "a.int8"))


def test_missing_layers_are_named(model):
    with pytest.raises(ConversionError, match="'a'"):
        find_layer(model, "a")


def test_a_lookup_of_integers_reads_the_scales_of_the_same_rows() -> None:
    graph = parser.parse_graph(
        "net (int64[N] ids, int64[N] places) => (float[N, 3] y) "
        "{ q = Gather(table, ids) s = Gather(scales, ids) "
        "f = Cast <to = 1> (q)"
        " y = Mul(f, s) }"
    )
    arrays = {"table": np.arange(15, dtype=np.int8).reshape(5, 3), "scales": np.linspace(1, 2, 5, dtype=np.float32)[:, None]}
    graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in arrays.items())
    model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9))
    read_rows(next(node for node in model.graph if node.op_type == "Gather"), model.graph.inputs[1])
    feeds = {"ids": np.array([0, 1]), "places": np.array([4, 2])}
    (found,) = create_session(ir.to_proto(model), threads=1).run(None, feeds)
    np.testing.assert_allclose(found, (arrays["table"] * arrays["scales"])[[4, 2]])
