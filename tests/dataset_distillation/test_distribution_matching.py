"""Distribution matching against a reference written with sums."""

import pytest

from compress.dataset_distillation.distribution_matching import mean_discrepancy
from tests.dataset_distillation.toy_network import rand


def test_the_discrepancy_is_the_squared_distance_of_means():
    f, g = rand(5, 7), rand(9, 7, seed=1)
    expected = sum((f.numpy()[:, d].sum() / 5 - g.numpy()[:, d].sum() / 9) ** 2 for d in range(7))
    assert float(mean_discrepancy(f, g)) == pytest.approx(expected, rel=1e-12)
    assert float(mean_discrepancy(f, f.flip(0))) == pytest.approx(0.0, abs=1e-24)
