from __future__ import annotations

import onnx
import pytest

from compress.backends import onnx_graph as graphs
from compress.backends.fusion.attention import find_attention, padding_mask_of

SPLIT = "{0}r = Reshape({0}, s) {0}h = Transpose<perm = [{1}]>({0}r) "
TEXT = """<ir_version: 9, opset_import: ["": 18]>
    agraph (float[n, m, 8] q, float[n, m, 8] k, float[n, m, 8] v, int64[n, m] mask, float[n, 1, m, m] other)
    => (float[n, m, 8] y)
    <int64[4] s = {{0, -1, 2, 4}}, int64[3] w = {{0, 0, 8}}, float c = {{0.5}}, int64[2] axes = {{1, 2}}> {{ {body} }}"""
START = SPLIT.format("q", "0, 2, 1, 3") + SPLIT.format("k", "0, 2, 3, 1") + SPLIT.format("v", "0, 2, 1, 3")
END = " o = MatMul(p, vh) t = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(t, w)"
PADDED = "f = Cast<to = 1>(mask) b = Unsqueeze(f, axes) a = Add(z, b) p = Softmax<axis = -1>(a)"


def sites(body: str) -> tuple:
    return find_attention(graphs.to_ir(onnx.parser.parse_model(TEXT.format(body=body))))


def test_the_tensors_before_the_split_and_the_factor_are_found() -> None:
    (site,) = sites(START + "z = MatMul(qh, kh) " + PADDED + END)
    assert [value.name for value in (site.query, site.key, site.value, site.bias, site.result)] == ["q", "k", "v", "b", "y"]
    mask = padding_mask_of(site)
    assert mask is not None
    assert mask.name == "mask"
    (scaled,) = sites(START + "qs = Mul(qh, c) ks = Mul(kh, c) z = MatMul(qs, ks) p = Softmax<axis = -1>(z)" + END)
    assert (scaled.scale, scaled.bias) == (0.25, None)
    assert padding_mask_of(scaled) is None
    (guarded,) = sites(START + "z = MatMul(qh, kh) m = Softmax<axis = -1>(z) i = IsNaN(m) p = Where(i, c, m)" + END)
    assert guarded.result.name == "y"


def test_a_bias_that_is_an_input_itself_is_no_padding_mask() -> None:
    (site,) = sites(START + "z = MatMul(qh, kh) a = Add(other, z) p = Softmax<axis = -1>(a)" + END)
    assert site.bias is not None
    assert site.bias.name == "other"
    assert padding_mask_of(site) is None


@pytest.mark.parametrize(
    "middle",
    [
        "z = MatMul(qh, kh) p = Softmax<axis = 1>(z)",
        "z = MatMul(qh, kh) a = Relu(z) p = Softmax<axis = -1>(a)",
        "z = MatMul(qh, kh) d = Add(z, other) a = Mul(d, c) p = Softmax<axis = -1>(a)",
        "qn = Relu(qh) z = MatMul(qn, kh) n = Neg(z) p = Softmax<axis = -1>(n)",
    ],
)
def test_other_forms_are_left_alone(middle: str) -> None:
    assert sites(START + middle + END) == ()
