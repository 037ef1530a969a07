from __future__ import annotations

import numpy as np
import pytest

from compress.tasks.detection_metric import AveragePrecision
from compress.tasks.metric import ResampledMetric
from compress.tasks.metric_quantity import RESAMPLES, estimate, loss_of
from compress.tasks.resampled_precision import ResampledPrecision

METRICS = [AveragePrecision("map50"), AveragePrecision("map50_95")]


def statistics(seed: int, images: int = 12, found: int = 40) -> np.ndarray:
    """Of detections without equal scores, of six classes of which the last has no true box."""
    generator = np.random.default_rng(seed)
    rows = np.zeros((images, 306), np.float32)
    rows[:, :found] = 1 - generator.permutation(images * found).reshape(images, found) / (images * found + 1)
    rows[:, 100 : 100 + found] = generator.integers(0, 6, (images, found))
    rows[:, 200 : 200 + found] = generator.integers(0, 1024, (images, found)) * (generator.random((images, found)) < 0.3)
    rows[:, 300:305] = generator.integers(0, 9, (images, 5))
    return rows


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.info.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_draw_by_counts_equals_the_drawn_images_one_by_one(metric: AveragePrecision, seed: int) -> None:
    scores, generator = statistics(seed), np.random.default_rng(seed)
    assert isinstance(metric, ResampledMetric)
    value = metric.resampled(scores)
    assert value(np.ones(12, np.int64)) == pytest.approx(metric.value(scores), abs=1e-9)
    for _ in range(8):
        rows = generator.integers(0, 12, 12)
        assert value(np.bincount(rows, minlength=12)) == pytest.approx(metric.value(scores[rows]), abs=1e-9)


def test_draws_without_true_boxes_have_no_value_and_classes_without_hits_have_none() -> None:
    rows = np.zeros((2, 302), np.float32)
    rows[:, 0], rows[1, 300] = 0.5, 2
    resampled = ResampledPrecision(rows, 100, 1)
    assert np.isnan(resampled.value(np.array([2, 0])))
    assert resampled.value(np.array([1, 1])) == 0.0


def test_the_interval_is_the_bootstrap_over_images() -> None:
    metric, scores, other = METRICS[0], statistics(0), statistics(1)
    generator = np.random.default_rng(0)
    rows = [generator.integers(0, 12, 12) for _ in range(RESAMPLES)]
    expected = np.quantile([metric.value(scores[each]) for each in rows], (0.025, 0.975))
    quantity = estimate(metric, scores, "test split")
    assert (quantity.low, quantity.high) == pytest.approx(tuple(expected), abs=1e-9)
    expected = np.quantile([metric.value(scores[each]) - metric.value(other[each]) for each in rows], (0.025, 0.975))
    loss = loss_of(metric, scores, other, "the other")
    assert (loss.low, loss.high) == pytest.approx(tuple(expected), abs=1e-9)
