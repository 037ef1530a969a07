"""Operators that move, repeat, select or make elements against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compress.backends.torch_operators.layout import LAYOUT_OPERATORS
from tests.backends.torch_operators.single_node import IMAGE, ROWS, check_operator, integers, normal

PLACES = np.array([[0, 2], [1, -1], [2, 0]], np.int64)
CASES = [
    ("Identity", [ROWS], {}),
    ("Dropout", [ROWS], {}),
    ("Concat", [IMAGE, normal(2, 3, 7, 7)], {"axis": 1}),
    ("Slice", [IMAGE, integers(1), integers(6), integers(2), integers(2)], {}),
    ("Slice", [IMAGE, integers(-1), integers(-9), integers(3), integers(-2)], {}),
    ("Slice", [ROWS, integers(0, 2), integers(2**40, -1)], {}),
    ("Gather", [IMAGE, integers(3, 0, -1)], {"axis": 1}),
    ("Gather", [IMAGE, np.array(-2, np.int64)], {"axis": 2}),
    ("Gather", [ROWS, np.array([[0, 2], [1, 1]], np.int64)], {}),
    ("GatherElements", [ROWS, PLACES], {"axis": 1}),
    ("GatherND", [ROWS, PLACES], {}),
    ("ScatterND", [ROWS, PLACES, normal(3)], {}),
    ("ScatterND", [ROWS, np.array([[0], [0]], np.int64), normal(2, 8)], {"reduction": "add"}),
    ("ScatterElements", [ROWS, PLACES, normal(3, 2)], {"axis": 1}),
    ("Reshape", [IMAGE, integers(0, -1)], {}),
    ("Reshape", [IMAGE, integers(2, 2, 2, 49)], {"allowzero": 1}),
    ("Flatten", [IMAGE], {"axis": 2}),
    ("Flatten", [IMAGE], {}),
    ("Transpose", [IMAGE], {"perm": [0, 2, 3, 1]}),
    ("Transpose", [ROWS], {}),
    ("Squeeze", [normal(1, 3, 1, 2), integers(0, 2)], {}),
    ("Squeeze", [normal(1, 3, 1, 2)], {}),
    ("Unsqueeze", [ROWS, integers(0, 3)], {}),
    ("Expand", [ROWS, integers(2, 3, 8)], {}),
    ("Expand", [ROWS, integers(2, 1, 1)], {}),
    ("Expand", [normal(3, 1), integers(8)], {}),
    ("Tile", [ROWS, integers(2, 3)], {}),
    ("Pad", [ROWS, integers(0, 1, 2, 0), np.array(1.5, np.float32)], {}),
    ("Pad", [ROWS, integers(1, 2), None, integers(1)], {}),
    ("Pad", [IMAGE, integers(0, 0, 1, 2, 0, 0, 2, 1)], {"mode": "reflect"}),
    ("Pad", [IMAGE, integers(0, 0, 0, 2, 0, 0, 0, 1)], {"mode": "edge"}),
    ("Pad", [IMAGE, integers(0, 0, 1, 2, 0, 0, 2, 1)], {"mode": "wrap"}),
    ("Cast", [ROWS], {"to": onnx.TensorProto.INT32}),
    ("Cast", [PLACES], {"to": onnx.TensorProto.FLOAT}),
    ("Cast", [ROWS], {"to": onnx.TensorProto.BOOL}),
    ("CastLike", [ROWS, PLACES], {}),
    ("ConstantOfShape", [integers(2, 3)], {}),
    ("Range", [np.array(1, np.int64), np.array(9, np.int64), np.array(3, np.int64)], {}),
    ("Range", [np.array(0, np.float32), np.array(1, np.float32), np.array(0.25, np.float32)], {}),
    ("Trilu", [IMAGE, np.array(1, np.int64)], {}),
    ("Trilu", [ROWS], {"upper": 0}),
    ("OneHot", [PLACES, np.array(4, np.int64), np.array([0.5, 2.0], np.float32)], {"axis": 1}),
    ("DepthToSpace", [IMAGE], {"blocksize": 2}),
    ("DepthToSpace", [IMAGE], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [normal(2, 3, 4, 6)], {"blocksize": 2}),
]


@pytest.mark.parametrize(("operator", "arrays", "attributes"), CASES)
def test_result_is_that_of_onnx_runtime(operator: str, arrays: list[np.ndarray | None], attributes: dict[str, object]) -> None:
    check_operator(operator, arrays, attributes)


def test_split_gives_every_part() -> None:
    check_operator("Split", [IMAGE, integers(3, 4)], {"axis": 2}, outputs=2)
    check_operator("Split", [IMAGE], {"axis": 2, "num_outputs": 3}, outputs=3)
    check_operator("Split", [IMAGE], {"axis": 1, "split": [1, 3]}, outputs=2, opset=11)


def test_axes_of_old_operator_sets_are_attributes() -> None:
    check_operator("Squeeze", [normal(1, 3, 1)], {"axes": [0]}, opset=11)
    check_operator("Unsqueeze", [ROWS], {"axes": [1]}, opset=11)
    check_operator("Pad", [ROWS], {"pads": [0, 1, 2, 0], "value": 0.5}, opset=9)


def test_every_operator_has_a_case() -> None:
    assert LAYOUT_OPERATORS.keys() - {case[0] for case in CASES} == {"Constant", "Split"}
