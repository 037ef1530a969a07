from __future__ import annotations

import numpy as np
import pytest

from compress.quantize.weight_only.blockwise import quantize_blocks

W = np.random.default_rng(0).standard_t(3, (24, 100)).astype(np.float32)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [16, 32, 128])
def test_unclipped_weights_err_by_half_a_step(bits: int, block: int) -> None:
    weight = quantize_blocks(W, bits, block, search=False)
    steps = np.repeat(weight.s, block, axis=1)[:, : W.shape[1]]
    assert (np.abs(weight.dequantize() - W) <= 1.01 * steps).all()
    assert weight.q.max() <= 2**bits - 1


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_search_never_errs_more_and_small_blocks_err_less(symmetric: bool) -> None:
    def error(block: int, *, search: bool) -> float:
        return float(((quantize_blocks(W, 4, block, symmetric=symmetric, search=search).dequantize() - W) ** 2).sum())

    assert error(32, search=True) < error(32, search=False)
    assert error(16, search=True) < error(32, search=True) < error(128, search=True)


def test_zero_points_cost_less_error_for_weights_of_one_sign() -> None:
    positive = np.abs(W)
    errors = [float(((quantize_blocks(positive, 4, 32, symmetric=flag).dequantize() - positive) ** 2).sum()) for flag in (0, 1)]
    assert errors[0] < 0.5 * errors[1]


def test_two_numbers_share_a_byte_the_first_is_the_low_half() -> None:
    weight = quantize_blocks(W, 4, 32)
    q, z = weight.packed()
    assert q.shape == (24, 4, 16)
    assert z.shape == (24, 2)
    np.testing.assert_array_equal(q & 15, weight.q[..., 0::2])
    np.testing.assert_array_equal(z >> 4, weight.z[:, 1::2])
    assert quantize_blocks(W, 8, 32).packed()[0].shape == (24, 4, 32)


def test_a_matrix_of_zeros_stays_zero() -> None:
    np.testing.assert_array_equal(quantize_blocks(np.zeros((2, 20), np.float32), 4, 16).dequantize(), np.zeros((2, 20)))
