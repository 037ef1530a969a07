"""Quantities of a metric from per-sample scores."""

import numpy as np
import pytest

from compress.core.errors import DataError
from compress.core.record import Metric
from compress.tasks.classification import Classification
from compress.tasks.metric import RatioOfSums
from compress.tasks.metric_quantity import estimate, gain_of, loss_of

ACCURACY = Classification().deciding


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = (rng.random(200) < 0.9).astype(np.float32)
    return reference, np.where(rng.random(200) < 0.1, 0.0, reference).astype(np.float32)


def test_a_proportion_is_the_mean_within_its_wilson_interval(scores: tuple[np.ndarray, np.ndarray]) -> None:
    quantity = estimate(ACCURACY, scores[0], "torch, test split")
    n, p = 200, scores[0].mean()
    z = 1.959964
    middle, half = (p + z**2 / (2 * n)) / (1 + z**2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert quantity.value == pytest.approx(p)
    assert (quantity.low, quantity.high) == (pytest.approx(middle - half), pytest.approx(middle + half))
    assert (quantity.runs, quantity.unit) == (200, "fraction")


def test_a_drop_is_a_negative_gain_on_the_same_samples(scores: tuple[np.ndarray, np.ndarray]) -> None:
    loss, won = loss_of(ACCURACY, *scores, "the teacher"), gain_of(ACCURACY, *scores, "the teacher")
    assert loss.value == pytest.approx(float(np.mean(scores[0] - scores[1])))
    assert loss.value > 0
    assert (won.value, won.low, won.high) == (pytest.approx(-loss.value), pytest.approx(-loss.high), pytest.approx(-loss.low))
    assert loss.detail.startswith("against the teacher, same 200 test samples")


class ErrorRate(RatioOfSums):
    """Errors and words of each sentence."""

    def scores(self, outputs, targets):
        raise NotImplementedError


ERROR_RATE = ErrorRate(Metric(name="wer", label="word error rate", unit="fraction", higher_is_better=False))


def test_a_ratio_of_sums_is_not_the_mean_of_ratios_and_has_an_interval_around_it() -> None:
    rng = np.random.default_rng(1)
    words = rng.integers(1, 40, 300)
    counts = np.stack([rng.binomial(words, 0.2), words], axis=1).astype(np.float64)
    quantity = estimate(ERROR_RATE, counts, "test split")
    assert quantity.value == pytest.approx(counts[:, 0].sum() / counts[:, 1].sum())
    assert quantity.low < quantity.value < quantity.high
    half = 1.96 * np.sqrt(0.2 * 0.8 / words.sum())
    assert (quantity.high - quantity.low) / 2 == pytest.approx(half, rel=0.2)


def test_where_lower_is_better_a_rise_is_a_loss() -> None:
    rng = np.random.default_rng(2)
    words = np.full(200, 20.0)
    before, after = (np.stack([rng.binomial(20, p, 200), words], axis=1).astype(np.float64) for p in (0.1, 0.3))
    loss = loss_of(ERROR_RATE, before, after, "the teacher")
    assert loss.value == pytest.approx(ERROR_RATE.value(after) - ERROR_RATE.value(before))
    assert loss.low > 0.1
    assert ERROR_RATE.info.loss_name == "wer_rise"
    assert ERROR_RATE.info.gain(0.3, 0.1) == pytest.approx(0.2)


@pytest.mark.parametrize(("count", "has_interval"), [(1, False), (3, False), (9, False), (10, True)])
def test_few_samples_have_no_bootstrap_interval(count: int, has_interval: bool) -> None:
    counts = np.tile([1.0, 10.0], (count, 1))
    for quantity in (estimate(ERROR_RATE, counts, "test split"), loss_of(ERROR_RATE, counts, counts, "the teacher")):
        assert quantity.runs == count
        assert quantity.value is not None
        assert ((quantity.low, quantity.high) != (None, None)) is has_interval
        assert ("at least 10 samples" in quantity.detail) is not has_interval


def test_few_samples_have_the_interval_of_a_proportion() -> None:
    assert estimate(ACCURACY, np.ones(1, np.float32), "test split").low < 0.3


def test_a_metric_without_a_value_is_not_measured_and_says_why() -> None:
    empty = np.zeros((4, 2))
    for quantity in (estimate(ERROR_RATE, empty, "test split"), loss_of(ERROR_RATE, empty, np.ones((4, 2)), "the teacher")):
        assert quantity.how == "not measured"
        assert "the word error rate of these 4 samples is not a number" in quantity.detail


@pytest.mark.parametrize("outside", [[3.0, 4.0, 5.0], [-1.0, 1.0, 1.0]])
def test_a_mean_of_scores_outside_0_to_1_is_refused_by_name(outside: list[float]) -> None:
    scores, valid = np.array(outside, np.float32), np.array([0.0, 1.0, 1.0 + 1e-6], np.float32)
    assert estimate(ACCURACY, valid, "test").value == pytest.approx(2 / 3, abs=1e-5)
    assert estimate(ACCURACY, valid, "test").high <= 1.0
    for measure in (
        lambda: estimate(ACCURACY, scores, "test"),
        lambda: loss_of(ACCURACY, valid, scores, "the teacher"),
        lambda: gain_of(ACCURACY, scores, valid, "the teacher"),
    ):
        with pytest.raises(DataError, match=r"metric accuracy has is_mean.*\[0, 1\].*is_mean = False"):
            measure()
