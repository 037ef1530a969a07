import math
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from compress.core.statistics import (
    Z,
    chance_agreement,
    drifting_percentile_interval,
    drifting_percentile_intervals,
    paired_difference,
    percentile_interval,
    runs_needed,
    wilson,
)

COUNTS = st.integers(1, 2000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(COUNTS)
def test_wilson_is_the_score_interval(counts: tuple[int, int]) -> None:
    successes, n = counts
    p, z = successes / n, norm.ppf(0.975)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    ends = [(p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    assert wilson(*counts) == pytest.approx(ends, abs=1e-12)


def test_wilson_covers_the_truth_over_a_grid() -> None:
    coverages = []
    for total in (40, 200, 540):
        held = np.array([wilson(hits, total) for hits in range(total + 1)])
        for truth in np.linspace(0.02, 0.98, 49):
            inside = (held[:, 0] <= truth) & (truth <= held[:, 1])
            coverages.append(float(binom.pmf(np.arange(total + 1), total, truth)[inside].sum()))
    assert np.mean(coverages) >= 0.94
    assert min(coverages) >= 0.89


@given(COUNTS)
def test_wilson_holds_its_estimate_and_more_samples_narrow_it(counts: tuple[int, int]) -> None:
    hits, total = counts
    low, high = wilson(hits, total)
    wider_low, wider_high = wilson(4 * hits, 4 * total)
    assert 0 <= low <= hits / total <= high <= 1
    assert wider_high - wider_low < high - low


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total - 1), st.just(total))))
def test_wilson_rises_with_successes(counts: tuple[int, int]) -> None:
    hits, total = counts
    assert wilson(hits, total)[0] < wilson(hits + 1, total)[0]
    assert wilson(hits, total)[1] < wilson(hits + 1, total)[1]


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(hits: int, total: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(hits, total)


def test_paired_difference_is_agresti_and_min_on_the_two_by_two_table() -> None:
    only_a, only_b, total = 9, 3, 60
    a = np.array([1] * only_a + [0] * only_b + [1] * (total - only_a - only_b))
    b = np.array([0] * only_a + [1] * only_b + [1] * (total - only_a - only_b))
    n, p12, p21 = total + 2, (only_a + 0.5) / (total + 2), (only_b + 0.5) / (total + 2)
    half = 1.959963985 * math.sqrt(((p12 + p21) - (p12 - p21) ** 2) / n)
    assert paired_difference(a, b) == pytest.approx((6 / 60, p12 - p21 - half, p12 - p21 + half), abs=1e-9)


def test_paired_difference_covers_the_truth_where_few_pairs_disagree() -> None:
    generator = np.random.default_rng(0)
    for chance_a, chance_b in ((0.01, 0.01), (0.03, 0.01), (0.002, 0.002)):
        held = 0
        for _ in range(1500):
            d = generator.choice([1, -1, 0], size=540, p=[chance_a, chance_b, 1 - chance_a - chance_b])
            _, low, high = paired_difference(d == 1, d == -1)
            held += low <= chance_a - chance_b <= high
        assert held / 1500 >= 0.93


def test_paired_difference_of_equal_answers_is_no_point() -> None:
    mean, low, high = paired_difference([1] * 540, [1] * 540)
    assert mean == 0
    assert low < 0 < high
    assert high - low < 0.02


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60))
def test_paired_difference_holds_the_mean_and_turns_round(pairs: list[tuple[float, float]]) -> None:
    a, b = zip(*pairs, strict=True)
    mean, low, high = paired_difference(a, b)
    assert -1 <= low <= mean <= high <= 1
    assert paired_difference(b, a) == pytest.approx((-mean, -high, -low))


@pytest.mark.parametrize(
    ("a", "b", "told"), [([1, 0], [1], "same samples"), ([2], [0], "in \\[0, 1\\]"), ([], [], "finite samples")]
)
def test_paired_difference_refuses_what_is_no_pair_of_scores(a: list[int], b: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        paired_difference(a, b)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_percentile_interval_covers_the_truth_of_a_skewed_distribution(q: float) -> None:
    generator = np.random.default_rng(1)
    truth = math.exp(1.2816 if q == 0.9 else 0.0 if q == 0.5 else 2.3263)
    held = 0
    for _ in range(1000):
        interval = percentile_interval(generator.lognormal(size=600), q)
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert held / 1000 >= 0.94


@pytest.mark.parametrize(("q", "runs"), [(0.5, 6), (0.9, 36), (0.99, 368), (0.1, 36)])
def test_percentile_interval_exists_from_the_runs_needed_on(q: float, runs: int) -> None:
    samples = np.arange(float(runs))
    assert runs_needed(q) == runs
    assert percentile_interval(samples, q) is not None
    assert percentile_interval(samples[:-1], q) is None


@given(st.lists(st.floats(0.001, 1e3), min_size=40, max_size=200), st.floats(0.1, 0.9))
def test_percentile_interval_holds_the_sample_quantile_and_does_not_mind_order(samples: list[float], q: float) -> None:
    interval = percentile_interval(samples, q)
    assert interval is not None
    assert interval[0] <= np.quantile(samples, q) <= interval[1]
    assert percentile_interval(samples[::-1], q) == interval


@pytest.mark.parametrize("q", [0.0, 1.0, 50])
def test_a_percentile_is_a_fraction(q: float) -> None:
    with pytest.raises(ValueError, match="fraction between 0 and 1"):
        percentile_interval([1.0] * 400, q)


def drifting(seed: int, n: int = 2000, memory: float = 0.99) -> np.ndarray:
    """Latencies of a machine whose speed wanders: a gamma around a level that remembers some 100 runs."""
    random = np.random.default_rng(seed)
    level, levels = 0.0, []
    for step in random.normal(size=n) * np.sqrt(1 - memory**2):
        level = memory * level + step
        levels.append(level)
    return random.gamma(100, 0.01, n) * (1 + 0.05 * np.array(levels))


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_intervals_of_drifting_runs_agree_where_those_of_independent_ones_do_not(q: float) -> None:
    runs = [drifting(seed) for seed in range(40)]

    def agreement(interval: Callable[..., tuple[float, float] | None]) -> float:
        found = [interval(run, q) for run in runs]
        pairs = [(a, b) for i, a in enumerate(found) for b in found[:i]]
        return np.mean([a[0] <= b[1] and b[0] <= a[1] for a, b in pairs])

    assert agreement(percentile_interval) < 0.7
    assert agreement(drifting_percentile_interval) > 0.95
    assert agreement(partial(drifting_percentile_interval, parts=3)) > 0.97


def test_fewer_parts_keep_their_word_where_the_drift_is_as_slow_as_the_series() -> None:
    runs = [drifting(seed, n=600, memory=0.999) for seed in range(60)]

    def agreement(parts: int) -> float:
        found = [drifting_percentile_interval(run, 0.5, parts=parts) for run in runs]
        return np.mean([a[0] <= b[1] and b[0] <= a[1] for i, a in enumerate(found) for b in found[:i]])

    assert agreement(3) > agreement(5) + 0.05


def test_intervals_of_one_series_do_not_contradict_each_other() -> None:
    quantiles = (0.5, 0.9, 0.95, 0.99)
    for seed in range(30):
        samples = drifting(seed, n=1200, memory=0.999)
        samples[800:] *= 1 + seed % 3  # one part of the session is slower than the others
        alone = [drifting_percentile_interval(samples, q, parts=3) for q in quantiles]
        joint = drifting_percentile_intervals(samples, quantiles, parts=3)
        lows, highs = zip(*joint.values(), strict=True)
        assert [*lows] == sorted(lows)
        assert [*highs] == sorted(highs)
        for (low, high), (joint_low, joint_high) in zip(alone, joint.values(), strict=True):
            assert joint_low <= low
            assert high <= joint_high


def test_an_upper_end_is_at_least_that_of_lower_quantiles() -> None:
    """One slow part makes the median uncertain up to the slowest run, and leaves the tail of each part as it is."""
    samples = np.concatenate([np.full(400, 0.15), np.full(400, 0.15), np.full(400, 0.2)])
    samples[::60] = 0.3
    samples[7] = 1.05
    median, tail = (drifting_percentile_interval(samples, q, parts=3) for q in (0.5, 0.99))
    assert median[1] > tail[1], "the two ends alone contradict each other"
    joint = drifting_percentile_intervals(samples, (0.5, 0.99), parts=3)
    assert joint[0.5] == median
    assert joint[0.99] == (tail[0], median[1])
    assert drifting_percentile_intervals([1.0] * 10, (0.5, 0.99)) == {0.5: (1.0, 1.0), 0.99: None}


def test_an_interval_for_drift_is_nowhere_narrower_and_stays_within_the_samples() -> None:
    for seed in range(20):
        samples = np.random.default_rng(seed).gamma(4.0, size=400)
        for q in (0.5, 0.9, 0.99):
            low, high = drifting_percentile_interval(samples, q)
            plain = percentile_interval(samples, q)
            assert samples.min() <= low <= plain[0] <= np.quantile(samples, q) <= plain[1] <= high <= samples.max()
    assert drifting_percentile_interval([1.0, 2.0], 0.5) is None
    with pytest.raises(ValueError, match="q is a fraction"):
        drifting_percentile_interval([1.0], 1.5)


@pytest.mark.parametrize("seed", range(4))
def test_chance_agreement_is_that_of_shuffled_answers(seed: int) -> None:
    generator = np.random.default_rng(seed)
    answers, true = (generator.choice(4, 60, p=p) for p in ([0.85, 0.05, 0.1, 0.0], [0.7, 0.2, 0.05, 0.05]))

    def agreement(order: np.ndarray) -> float | None:
        return chance_agreement(Counter(zip(order.tolist(), true.tolist(), strict=True)))

    for right in range(0, 60, 4):
        order = np.where(np.arange(60) < right, true, answers)
        shuffled = np.array([(generator.permutation(order) == true).sum() for _ in range(2000)])
        limit, agrees, level = shuffled.mean() + Z * shuffled.std(), (order == true).sum(), agreement(order)
        assert level is None or level == pytest.approx(shuffled.mean() / 60, abs=0.005)
        if abs(agrees - limit) > 0.5:
            assert (level is None) == (agrees > limit)


def test_chance_agreement_of_right_answers_and_of_one_class() -> None:
    assert chance_agreement({(0, 0): 95, (1, 1): 5}) is None
    assert chance_agreement({(0, 0): 95, (0, 1): 5}) == pytest.approx(0.95)
    assert chance_agreement({(0, 0): 20}) == 1.0
    assert chance_agreement({(3, 3): 1}) == 1.0
