import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.profile.latency.theil_sen import theil_sen


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(5, 40))
def test_a_line_gives_its_slope(slope, offset, n):
    x = np.arange(n, dtype=float)
    found, low, high = theil_sen(x, offset + slope * x)
    assert found == pytest.approx(slope, abs=1e-6)
    assert low <= found <= high


def test_a_quarter_of_wild_points_changes_little():
    generator = np.random.default_rng(0)
    x = np.arange(60.0)
    y = 3 * x + generator.normal(size=60)
    y[::4] += 1e4
    assert theil_sen(x, y)[0] == pytest.approx(3, abs=0.5)


def test_the_interval_holds_the_slope_19_times_in_20():
    generator = np.random.default_rng(1)
    x = np.arange(20.0)
    held = 0
    for _ in range(400):
        _, low, high = theil_sen(x, 0.5 * x + generator.normal(size=20))
        held += low <= 0.5 <= high
    assert held / 400 >= 0.925


def test_it_agrees_with_an_independent_reference():
    from scipy.stats import theilslopes

    generator = np.random.default_rng(2)
    x = np.sort(generator.uniform(0, 100, 30))
    y = generator.normal(size=30) + 0.1 * x
    slope, low, high = theil_sen(x, y)
    reference = theilslopes(y, x, alpha=0.95)
    assert slope == pytest.approx(reference.slope)
    assert low <= reference.low_slope <= reference.high_slope <= high
    assert (low, high) == pytest.approx((reference.low_slope, reference.high_slope), abs=0.01)


def test_few_points_tell_nothing_and_bad_ones_are_refused():
    assert theil_sen([1, 2, 3, 4], [1, 2, 3, 4]) is None
    with pytest.raises(ValueError, match="increasing"):
        theil_sen([1, 1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="one length"):
        theil_sen([1, 2], [1, 2, 3])
