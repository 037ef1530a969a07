from __future__ import annotations

import numpy as np
import pytest

from compress.quantize.ptq.quantized_weight import QuantizedWeight, int_range, round_to_nearest, weight_scales


def test_searched_scales_have_less_error_than_full_ones() -> None:
    w = np.random.default_rng(0).normal(size=(1, 4, 6)).astype(np.float32)
    w[0, 0, 0] = 30.0
    errors = []
    for search in (False, True):
        s = weight_scales(w, 4, per_channel=False, search=search)
        assert len(np.unique(s)) == 1
        errors.append(float(((round_to_nearest(w, s, 4) * s[..., None] - w) ** 2).sum()))
    assert errors[1] < errors[0]


def test_zero_weights_have_a_positive_scale() -> None:
    w = np.zeros((1, 2, 3), np.float32)
    assert (weight_scales(w, 8, per_channel=True, search=True) > 0).all()


@pytest.mark.parametrize("bits", [2, 4, 7, 8])
def test_rounding_to_the_nearest_is_off_by_half_a_scale_at_most(bits: int) -> None:
    w = np.random.default_rng(bits).normal(size=(2, 3, 50)).astype(np.float32)
    s = weight_scales(w, bits, per_channel=True, search=False)
    weight = QuantizedWeight(round_to_nearest(w, s, bits), s, per_channel=True)
    assert (np.abs(weight.dequantize() - w) <= 0.5001 * s[..., None]).all()
    low, high = int_range(bits)
    assert weight.q.min() >= low
    assert weight.q.max() == high


def test_seven_and_eight_bits_are_symmetric_and_fewer_use_all_levels() -> None:
    assert [int_range(bits) for bits in (8, 7, 4, 2)] == [(-127, 127), (-63, 63), (-8, 7), (-2, 1)]
