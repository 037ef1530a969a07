from __future__ import annotations

import numpy as np
import pytest

from compress.quantize.weight_only.blockwise import quantize_blocks
from compress.quantize.weight_only.gptq_blocks import round_gptq
from compress.quantize.weight_only.rounding_problem import BlockRounding
from tests.quantize.weight_only.blocks import problem


def by_inverses(case: BlockRounding) -> np.ndarray:
    """The same by the inverse of the remaining part of H at each input, in float64, without blocks of columns."""
    h = case.statistics.hessian[0].astype(np.float64)
    h += 0.01 * np.diag(h).mean() * np.eye(len(h))
    w = case.w.astype(np.float64).copy()
    rounded = np.zeros_like(w)
    for i in range(len(h)):
        if i % case.block == 0:
            own = quantize_blocks(w[:, i : i + case.block].astype(np.float32), case.bits, case.block, symmetric=case.symmetric)
            s, z = own.s[:, 0], own.z[:, 0].astype(np.float64)
        inverse = np.linalg.inv(h[i:, i:])
        rounded[:, i] = s * (np.clip(np.rint(w[:, i] / s) + z, 0, 2**case.bits - 1) - z)
        w[:, i:] -= ((w[:, i] - rounded[:, i]) / inverse[0, 0])[:, None] * inverse[0]
    return rounded


@pytest.mark.parametrize(("block", "symmetric"), [(16, False), (32, True), (128, False)])
def test_it_is_gptq_with_scales_of_the_compensated_blocks(block: int, symmetric: bool) -> None:
    case = problem(160, 12, block=block, symmetric=symmetric)
    found, expected = round_gptq(case).dequantize(), by_inverses(case)
    same = np.isclose(found, expected, atol=1e-3).all(1)  # a row may flip where a weight is half-way between two integers
    assert same.mean() >= 0.75


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize(("dims", "block", "symmetric"), [(96, 32, False), (100, 32, True), (160, 128, False)])
def test_the_outputs_err_less_than_nearest_on_correlated_inputs(dims: int, block: int, symmetric: bool, bits: int) -> None:
    case = problem(dims, 24, block=block, symmetric=symmetric, bits=bits)
    x, rounded = case.statistics.x[0], round_gptq(case)
    errors = [(((weight.dequantize() - case.w) @ x.T) ** 2).sum(1) for weight in (rounded, case.nearest())]
    assert errors[0].sum() < 0.8 * errors[1].sum()
    assert rounded.q.max() < 2**bits
    assert rounded.q.shape == case.nearest().q.shape
    if dims % block:  # padding is the zero point
        assert (rounded.q[:, -1, dims % block :] == rounded.z[:, -1:]).all()
