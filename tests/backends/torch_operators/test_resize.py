"""Resize, old and new, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.backends.torch_operators.run_operator import run_operator
from compress.backends.torch_operators.values import Attributes
from tests.backends.torch_operators.single_node import IMAGE, check_operator, floats, integers, normal

NEAREST = [
    {"coordinate_transformation_mode": rule, "nearest_mode": rounding}
    for rule in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel")
    for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
]
LINEAR = [
    {"mode": "linear", "coordinate_transformation_mode": rule}
    for rule in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
]


@pytest.mark.parametrize("attributes", [*NEAREST, *LINEAR])
@pytest.mark.parametrize("sizes", [(2, 4, 14, 21), (2, 4, 5, 3), (2, 4, 1, 9)])
def test_sizes_and_rules_are_those_of_onnx_runtime(attributes: dict[str, object], sizes: tuple[int, ...]) -> None:
    check_operator("Resize", [IMAGE, None, None, integers(*sizes)], attributes)


@pytest.mark.parametrize("attributes", [NEAREST[0], *LINEAR])
def test_scales_that_give_no_whole_size(attributes: dict[str, object]) -> None:
    check_operator("Resize", [IMAGE, None, floats(1, 1, 1.6, 2.3)], attributes)


@pytest.mark.parametrize("rule", ["half_pixel", "align_corners"])
def test_cubic(rule: str) -> None:
    attributes = {"mode": "cubic", "coordinate_transformation_mode": rule, "cubic_coeff_a": -0.75}
    check_operator("Resize", [IMAGE, None, None, integers(2, 4, 10, 15)], attributes, tolerance=1e-4)


def test_one_axis_and_a_sequence() -> None:
    check_operator("Resize", [IMAGE, None, floats(1, 1, 1, 2)], LINEAR[0])
    check_operator("Resize", [normal(2, 3, 5), None, floats(1, 1, 2)], LINEAR[0])
    check_operator("Resize", [IMAGE, None, None, integers(14, 14)], {"axes": [2, 3]}, opset=18)


def test_operator_set_9_and_a_grid() -> None:
    check_operator("Upsample", [IMAGE, floats(1, 1, 2, 3)], {"mode": "nearest"}, opset=9)
    grid = np.tanh(normal(2, 5, 6, 2))
    for attributes in (
        {"mode": "linear"},
        {"mode": "nearest", "padding_mode": "border"},
        {"mode": "linear", "align_corners": 1},
    ):
        check_operator("GridSample", [IMAGE, grid], attributes)


def test_what_torch_does_not_compute_is_named() -> None:
    values = [torch.from_numpy(IMAGE), None, None, integers(2, 4, 10, 15)]
    with pytest.raises(NotImplementedError, match="antialias"):
        run_operator("Resize", Attributes({"antialias": 1}), values)
    with pytest.raises(NotImplementedError, match="tf_crop_and_resize"):
        run_operator("Resize", Attributes({"coordinate_transformation_mode": "tf_crop_and_resize"}), values)
