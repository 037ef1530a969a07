"""Quantities of a metric from per-sample scores."""

import numpy as np
import pytest

from compress.tasks.metric_quantity import drop, gain, proportion


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = (rng.random(200) < 0.9).astype(np.float32)
    return reference, np.where(rng.random(200) < 0.1, 0.0, reference).astype(np.float32)


def test_a_proportion_is_the_mean_within_its_wilson_interval(scores: tuple[np.ndarray, np.ndarray]) -> None:
    quantity = proportion(scores[0], "torch, test split")
    n, p = 200, scores[0].mean()
    z = 1.959964
    middle, half = (p + z**2 / (2 * n)) / (1 + z**2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert quantity.value == pytest.approx(p)
    assert (quantity.low, quantity.high) == (pytest.approx(middle - half), pytest.approx(middle + half))
    assert (quantity.runs, quantity.unit) == (200, "fraction")


def test_a_drop_is_a_negative_gain_on_the_same_samples(scores: tuple[np.ndarray, np.ndarray]) -> None:
    loss, won = drop(*scores, "the teacher"), gain(*scores, "the teacher")
    assert loss.value == pytest.approx(float(np.mean(scores[0] - scores[1])))
    assert loss.value > 0
    assert (won.value, won.low, won.high) == (pytest.approx(-loss.value), pytest.approx(-loss.high), pytest.approx(-loss.low))
    assert loss.detail.startswith("against the teacher, same 200 test samples")
