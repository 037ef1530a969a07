"""Matrix products, normalisations and reductions against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from compress.backends.torch_operators.linear_algebra import ALGEBRA_OPERATORS, REDUCTIONS
from tests.backends.torch_operators.single_node import IMAGE, ROWS, check_operator, integers, normal

FACTORS, CHANNELS = normal(8), normal(4)
POSITIVE = np.abs(IMAGE) + 0.5
CASES = [
    ("Gemm", [ROWS, normal(5, 8)], {"transB": 1, "alpha": 0.5}),
    ("Gemm", [ROWS.T.copy(), normal(8, 5), normal(5)], {"transA": 1, "beta": 0.25}),
    ("MatMul", [IMAGE, normal(7, 5)], {}),
    ("MatMul", [IMAGE, normal(2, 4, 7, 3)], {}),
    ("Einsum", [normal(2, 3, 4), normal(2, 5, 4)], {"equation": "bid,bjd->bij"}),
    ("LayerNormalization", [ROWS, FACTORS, normal(8)], {"epsilon": 1e-3}),
    ("LayerNormalization", [IMAGE, normal(7, 7)], {"axis": 2}),
    ("BatchNormalization", [IMAGE, CHANNELS, normal(4), normal(4), np.abs(normal(4)) + 0.5], {"epsilon": 1e-3}),
    ("InstanceNormalization", [IMAGE, CHANNELS, normal(4)], {"epsilon": 1e-3}),
    ("GroupNormalization", [IMAGE, normal(2), normal(2)], {"num_groups": 2}),
    ("LpNormalization", [ROWS], {"axis": 1, "p": 2}),
    ("CumSum", [ROWS, integers(1)], {}),
    ("CumSum", [ROWS, integers(0)], {"exclusive": 1, "reverse": 1}),
    ("ArgMax", [ROWS], {"axis": 1, "keepdims": 0}),
    ("ArgMin", [ROWS], {"axis": 0}),
    *((operator, [POSITIVE, integers(2, 3)], {"keepdims": 0}) for operator in sorted(REDUCTIONS)),
    ("ReduceMean", [IMAGE], {}),
    ("ReduceSum", [IMAGE], {"noop_with_empty_axes": 1}),
    ("ReduceL2", [IMAGE, integers(-3)], {"keepdims": 1}),
]


@pytest.mark.parametrize(("operator", "arrays", "attributes"), CASES)
def test_result_is_that_of_onnx_runtime(operator: str, arrays: list[np.ndarray | None], attributes: dict[str, object]) -> None:
    check_operator(operator, arrays, attributes, tolerance=5e-5)


def test_group_norm_with_a_factor_for_each_channel() -> None:
    check_operator("GroupNormalization", [IMAGE, CHANNELS, normal(4)], {"num_groups": 2}, opset=21)


def test_reductions_of_old_operator_sets_read_attributes() -> None:
    check_operator("ReduceMean", [IMAGE], {"axes": [2, 3], "keepdims": 0}, opset=13)


def test_the_largest_values_come_with_their_places() -> None:
    check_operator("TopK", [ROWS, integers(3)], {"axis": 1}, outputs=2)
    check_operator("TopK", [ROWS, integers(2)], {"axis": 0, "largest": 0}, outputs=2)


def test_every_operator_has_a_case() -> None:
    tested = {case[0] for case in CASES} | {"TopK"}
    assert ALGEBRA_OPERATORS.keys() - tested == {"RMSNormalization"}  # of operator set 23
