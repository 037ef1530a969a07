import numpy as np

from compress.quantize.weight_only.blockwise import quantize_blocks
from compress.quantize.weight_only.rounding_problem import round_nearest
from tests.quantize.weight_only.blocks import problem


def test_nearest_is_the_rounding_of_each_block_and_the_hessian_that_of_the_inputs() -> None:
    case = problem(64, 6, symmetric=True)
    expected = quantize_blocks(case.w, 4, 32, symmetric=True)
    assert np.array_equal(round_nearest(case).q, expected.q)
    assert np.array_equal(case.nearest(case.w * 2).q, quantize_blocks(case.w * 2, 4, 32, symmetric=True).q)
    x = case.statistics.x[0]
    np.testing.assert_allclose(case.hessian.hessian[0], x.T @ x / len(x), rtol=1e-4, atol=1e-4)
