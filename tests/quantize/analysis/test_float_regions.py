from __future__ import annotations

import pytest

from compress.quantize.analysis.float_regions import FloatRegions, components, compute_type
from tests.quantize.analysis.kernels import kernel


@pytest.mark.parametrize(
    ("operator", "number", "kind"),
    [
        ("QLinearConv", "int8", "int8"),
        ("MatMulIntegerToFloat", "int8 → float", "int8"),
        ("DynamicQuantizeMatMul", "float", "int8"),
        ("DequantizeLinear", "int8 → float", "conversion"),
        ("Cast", "float → float16", "conversion"),
        ("Cast", "int64 → float", "shapes"),
        ("Shape", "float → int64", "shapes"),
        ("MatMulNBits", "float", "float, weights of fewer bits"),
        ("Conv", "float", "float"),
    ],
)
def test_kinds_of_kernels(operator: str, number: str, kind: str) -> None:
    assert compute_type(kernel(operator, number, "a", "b")) == kind


def test_components_are_the_connected_vertices() -> None:
    labels = components([(0, 3), (3, 4), (1, 2)], 6)
    assert len(set(labels)) == 3
    assert labels[0] == labels[3] == labels[4]
    assert labels[1] == labels[2]
    assert components([], 0) == []


def test_a_region_is_isolated_only_between_integers() -> None:
    inside = [
        kernel("QLinearConv", "int8", "q", "a", "conv"),
        kernel("DequantizeLinear", "int8 → float", "a", "b"),
        kernel("Erf", "float", "b", "c", "erf"),
        kernel("QuantizeLinear", "float → int8", "c", "d"),
        kernel("QLinearConv", "int8", "d", "e", "last"),
    ]
    (region,) = FloatRegions(inside).regions
    assert region.isolated
    assert [conversion.operator for conversion in region.conversions] == ["DequantizeLinear", "QuantizeLinear"]
    (last,) = FloatRegions(inside[:3]).regions
    assert not last.isolated
