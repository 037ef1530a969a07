"""Layers in a graph: with a bias, quantized dynamically, side by side, and missing."""

import onnx_ir as ir
import pytest
from onnx import parser

from compress.backends.decoder.find_layers import find_layer, joint_results, layer_input, layer_result
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
