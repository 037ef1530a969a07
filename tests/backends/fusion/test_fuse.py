from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.fusion.attention import find_attention
from compress.backends.fusion.fuse import fuse
from compress.quantize.schemes import SchemeOptions, dynamic_int8
from tests.quantize.encoder import encoder_file, feeds

FEEDS = [feeds(4, 12), feeds(3, 30, seed=1)]


@pytest.fixture(scope="module")
def model() -> ir.Model:
    return graphs.to_ir(onnx_files.load(encoder_file()))


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def answers(model: ir.Model, batch: dict[str, np.ndarray]) -> np.ndarray:
    return onnx_session.create_session(model).run(None, batch)[0]


def test_attention_and_gelu_become_one_node_each_and_padding_keeps_its_meaning(model: ir.Model) -> None:
    before = len(model.graph)
    fusion = fuse(model, FEEDS)
    assert fusion is not None
    assert (fusion.attentions, fusion.gelus, fusion.padding_mask) == (2, 2, True)
    found = operators(fusion.model)
    assert (found["MultiHeadAttention"], found["Gelu"], found["Softmax"], found["Erf"]) == (2, 2, 0, 0)
    assert len(fusion.model.graph) < len(model.graph) == before
    for length in (3, 17, 48):
        batch = feeds(5, length, seed=2)
        np.testing.assert_allclose(answers(fusion.model, batch), answers(model, batch), atol=1e-5)
    alone = {name: array[1:2, : int(FEEDS[0]["attention_mask"][1].sum())] for name, array in FEEDS[0].items()}
    np.testing.assert_allclose(answers(fusion.model, alone)[0], answers(fusion.model, FEEDS[0])[1], atol=1e-5)
    (site, _) = find_attention(model)
    assert (site.scale, site.result.name) == (pytest.approx(0.25), site.result.name)


def test_a_dynamically_quantized_network_is_fused_as_well(model: ir.Model) -> None:
    quantized = dynamic_int8(model, SchemeOptions(seven_bits=True))
    fusion = fuse(quantized, FEEDS, tolerance=0.05)
    assert fusion is not None
    assert (fusion.attentions, fusion.gelus) == (2, 2)
    assert operators(fusion.model)["MatMulInteger"] == operators(quantized)["MatMulInteger"]


CAUSAL = """<ir_version: 9, opset_import: ["": 18]>
    agraph (float[n, 4, 8] q, float[n, 4, 8] k, float[n, 4, 8] v, int64[n, 4] mask) => (float[n, 4, 8] y)
    <int64[4] s = {{0, -1, 2, 4}}, int64[3] w = {{0, 0, 8}}, float low = {{-1e9}}, float one = {{1}}, int64[2] axes = {{1, 2}},
     int64[4] full = {{1, 1, 4, 4}}>
    {{ qr = Reshape(q, s) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, s) kh = Transpose<perm = [0, 2, 3, 1]>(kr)
       vr = Reshape(v, s) vh = Transpose<perm = [0, 2, 1, 3]>(vr) z = MatMul(qh, kh) f = Cast<to = 1>(mask) g = Sub(one, f)
       u = Unsqueeze(g, axes) e = Expand(u, full) pad = Mul(e, low) b = {bias} a = Add(z, b) p = Softmax<axis = -1>(a)
       o = MatMul(p, vh) t = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(t, w) }}"""


@pytest.mark.parametrize(("bias", "is_padding"), [("Add(pad, future)", False), ("Identity(pad)", True)])
def test_a_mask_that_is_more_than_padding_is_added_to_the_scores(bias: str, is_padding: bool) -> None:
    proto = onnx.parser.parse_model(CAUSAL.format(bias=bias))
    future = np.triu(np.full((1, 1, 4, 4), -1e9, np.float32), 1)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(future, "future"))
    model = graphs.to_ir(proto)
    generator = np.random.default_rng(0)
    batch = {name: generator.standard_normal((3, 4, 8)).astype(np.float32) for name in "qkv"}
    batch["mask"] = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    fusion = fuse(model, [batch])
    assert fusion is not None
    assert (fusion.attentions, fusion.padding_mask) == (1, is_padding)
    np.testing.assert_allclose(answers(fusion.model, batch), answers(model, batch), atol=1e-5)


def test_networks_without_attention_are_left_alone() -> None:
    text = '<ir_version: 9, opset_import: ["": 18]> agraph (float[n, 8] x) => (float[n, 8] y) { t = Relu(x) y = Softmax(t) }'
    model = graphs.to_ir(onnx.parser.parse_model(text))
    assert fuse(model, [{"x": np.zeros((1, 8), np.float32)}]) is None
