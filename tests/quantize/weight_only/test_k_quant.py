from __future__ import annotations

import numpy as np
import pytest

from compress.quantize.weight_only.blockwise import quantize_blocks
from compress.quantize.weight_only.k_quant import k_quant, round_k_quant
from tests.quantize.weight_only.blocks import problem


def weighted_errors(w: np.ndarray, found: np.ndarray, block: int) -> np.ndarray:
    blocks = w.reshape(len(w), -1, block)
    omega = np.sqrt((blocks**2).mean(2, keepdims=True)) + np.abs(blocks)
    errors: np.ndarray = (omega * (blocks - found.reshape(blocks.shape)) ** 2).sum(2)
    return errors


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("block", [16, 128])
def test_no_block_has_a_larger_weighted_error_than_nearest_and_most_a_smaller_one(
    bits: int, symmetric: bool, block: int
) -> None:
    w = np.random.default_rng(0).standard_normal((40, 256)).astype(np.float32) ** 3
    found = k_quant(w, bits, block, symmetric=symmetric)
    nearest = quantize_blocks(w, bits, block, symmetric=symmetric)
    errors = [weighted_errors(w, weight.dequantize(), block) for weight in (found, nearest)]
    assert (errors[0] <= errors[1] * (1 + 1e-5)).all()
    assert errors[0].sum() < errors[1].sum()
    assert found.q.max() < 2**bits
    if symmetric:
        assert (found.z == 2 ** (bits - 1)).all()


@pytest.mark.parametrize("symmetric", [False, True])
def test_weights_on_a_grid_are_exact(symmetric: bool) -> None:
    rng = np.random.default_rng(1)
    q = rng.integers(0, 16, (6, 2, 32))
    q[..., 0], q[..., 1] = 0, 15
    z = np.full((6, 2, 1), 8) if symmetric else rng.integers(1, 15, (6, 2, 1))
    w = ((q - z) * rng.uniform(0.1, 2, (6, 2, 1))).reshape(6, 64).astype(np.float32)
    np.testing.assert_allclose(k_quant(w, 4, 32, symmetric=symmetric).dequantize(), w, atol=1e-5)


def test_padding_and_zeros_are_no_fault() -> None:
    case = problem(100, 5)
    case.w[2] = 0
    found = round_k_quant(case)
    assert found.dequantize().shape == (5, 100)
    assert not found.dequantize()[2].any()
