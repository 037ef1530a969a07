"""Spherical interpolation."""

import pytest
import torch

from compress.merge.methods.slerp import Slerp, slerp


def test_half_way_between_orthogonal_tensors_of_equal_length_keeps_the_length():
    first, second = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    middle = slerp(first, second, 0.5)
    torch.testing.assert_close(middle, torch.full((1, 2), 3.0 / 2**0.5))


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_the_angle_grows_evenly(t):
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.75**0.5])  # 60 degrees
    angle = torch.atan2(*slerp(first, second, t).flip(0))
    assert torch.rad2deg(angle).item() == pytest.approx(60 * t, abs=1e-3)


@pytest.mark.parametrize("second", [[2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]])
def test_parallel_and_zero_tensors_are_interpolated_linearly(second):
    first, other = torch.tensor([1.0, 2.0]), torch.tensor(second)
    merged = Slerp().merge([{"w": first}, {"w": other}], None, (0.5, 0.5), 0)
    torch.testing.assert_close(merged["w"], (first + other) / 2)
