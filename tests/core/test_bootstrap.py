import numpy as np
import pytest
from scipy.stats import bootstrap

from compress.core.bootstrap import as_vector, bootstrap_interval, ratio_interval


@pytest.mark.parametrize("statistic", [np.mean, np.median])
@pytest.mark.parametrize("size", [2, 5, 40, 333])
def test_bootstrap_interval_equals_scipy(statistic, size: int) -> None:
    samples = np.random.default_rng(size).lognormal(size=size)
    expected = bootstrap(
        (samples,), statistic, n_resamples=500, method="percentile", vectorized=False, rng=np.random.default_rng(7)
    ).confidence_interval
    low, high = bootstrap_interval(samples, statistic, resamples=500, seed=7)
    point = float(statistic(samples))
    assert (low, high) == pytest.approx((min(point, expected.low), max(point, expected.high)), rel=1e-12)


def test_bootstrap_interval_of_a_mean_is_near_the_normal_one() -> None:
    samples = np.random.default_rng(2).normal(10, 2, 400)
    half = 1.96 * samples.std(ddof=1) / 20
    assert bootstrap_interval(samples) == pytest.approx((samples.mean() - half, samples.mean() + half), abs=0.03)


def test_bootstrap_is_seeded_and_leaves_numpy_alone() -> None:
    samples = np.random.default_rng(3).random(50)
    state = str(np.random.get_state())  # noqa: NPY002
    assert bootstrap_interval(samples, seed=5) == bootstrap_interval(samples, seed=5)
    assert bootstrap_interval(samples, seed=5) != bootstrap_interval(samples, seed=6)
    assert str(np.random.get_state()) == state  # noqa: NPY002


def test_ratio_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(4)
    held = 0
    for repeat in range(100):
        ratio, low, high = ratio_interval(
            20 * generator.lognormal(sigma=0.2, size=80), generator.lognormal(sigma=0.2, size=80), resamples=250, seed=repeat
        )
        assert low <= ratio <= high
        held += low <= 20 <= high
    assert held / 100 >= 0.88


def test_ratio_interval_refuses_times_that_are_not_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio_interval([1.0, 2.0], [0.0, 1.0])


@pytest.mark.parametrize("samples", [[], [np.nan], [np.inf, 1.0]])
def test_samples_are_finite_and_enough(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="finite samples"):
        as_vector(samples)
