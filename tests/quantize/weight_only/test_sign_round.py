from __future__ import annotations

import numpy as np
import pytest

from compress.quantize.weight_only.sign_round import round_by_sign
from tests.quantize.weight_only.blocks import problem


def output_errors(case, weight) -> np.ndarray:
    return (((weight.dequantize() - case.w) @ case.statistics.x[0].T) ** 2).sum(1)


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize(("dims", "block", "symmetric"), [(96, 32, False), (100, 32, True), (160, 128, False)])
def test_the_outputs_err_less_than_nearest_in_every_row(dims: int, block: int, symmetric: bool, bits: int) -> None:
    case = problem(dims, 24, block=block, symmetric=symmetric, bits=bits)
    rounded, nearest = round_by_sign(case), case.nearest()
    errors, others = output_errors(case, rounded), output_errors(case, nearest)
    assert errors.sum() < 0.8 * others.sum()
    assert (errors <= others * 1.001 + 1e-3).all()
    assert rounded.q.max() < 2**bits
    assert (rounded.q.shape, rounded.q.dtype) == (nearest.q.shape, nearest.q.dtype)
    if symmetric:
        assert (rounded.z == 2 ** (bits - 1)).all()


def test_integers_move_by_one_from_the_nearest_ones_of_their_scale() -> None:
    case = problem(96, 8)
    rounded = round_by_sign(case)
    blocks = case.w.reshape(8, -1, 32)
    nearest = np.rint(blocks / rounded.s[..., None]) + rounded.z[..., None]
    assert np.abs(rounded.q - np.clip(nearest, 0, 15)).max() <= 1


def test_weights_on_the_grid_stay() -> None:
    case = problem(64, 6)
    case.w = case.nearest().dequantize()
    assert output_errors(case, round_by_sign(case)).max() == pytest.approx(output_errors(case, case.nearest()).max(), abs=1e-4)
