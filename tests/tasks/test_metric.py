import numpy as np
import pytest

from compress.core.record import Metric
from compress.tasks.metric import MeanOfScores, RatioOfSums

INFO = Metric(name="wer", label="word error rate", unit="fraction", higher_is_better=False)


def test_a_ratio_weights_samples_by_their_denominators() -> None:
    scores = np.array([[1.0, 2.0], [0.0, 8.0]])
    assert RatioOfSums(INFO).value(scores) == pytest.approx(0.1)
    assert RatioOfSums(INFO).value(scores) != scores[:, 0].mean() / scores[:, 1].mean() + 0.1


def test_a_ratio_over_nothing_is_not_a_number() -> None:
    assert np.isnan(RatioOfSums(INFO).value(np.zeros((3, 2))))


def test_a_ratio_of_many_small_samples_does_not_lose_them_in_float32() -> None:
    scores = np.concatenate([np.full((1, 2), 1e8), np.ones((1000, 2))]).astype(np.float32)
    scores[1:, 0] = 0.0
    assert RatioOfSums(INFO).value(scores) == pytest.approx(1e8 / (1e8 + 1000), rel=1e-9)


def test_a_mean_is_the_mean_and_says_that_exact_intervals_hold() -> None:
    metric = MeanOfScores(INFO)
    assert metric.value(np.array([0.0, 1.0, 1.0, 0.0], np.float32)) == 0.5
    assert metric.is_mean
    assert not RatioOfSums(INFO).is_mean
