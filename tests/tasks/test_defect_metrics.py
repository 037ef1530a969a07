import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from compress.core.errors import DataError
from compress.core.statistics import wilson
from compress.tasks.defect_metrics import Auroc, FalseAlarmRate, PartScores, RecallAtFpr
from compress.tasks.metric import ThresholdMetric
from compress.tasks.metric_quantity import estimate, loss_of

GOOD = 1


def rows(metric, scores, kinds):
    return metric.scores({"score": torch.tensor(scores)}, {"target": torch.tensor(kinds)}).numpy()


def made(kind, fpr=0.2):
    return kind(lambda outputs: outputs["score"], GOOD, fpr)


def drawn(seed=0, count=200):
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 3, (count,), generator=generator)
    scores = torch.randn(count, generator=generator) + 1.5 * (kinds != GOOD)
    return scores.tolist(), kinds.tolist()


def test_they_are_metrics_with_a_threshold_and_say_the_rate():
    for kind in (RecallAtFpr, FalseAlarmRate, Auroc):
        assert isinstance(made(kind), ThresholdMetric)
    assert made(RecallAtFpr, 0.05).info.label == "recall at 5 % false alarms"
    assert not made(FalseAlarmRate).info.higher_is_better


def test_without_a_threshold_a_split_is_judged_by_its_own_good_parts():
    scores, kinds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.45, 0.1], [1, 1, 1, 1, 1, 0, 2, 2]
    metric = made(RecallAtFpr)
    statistics = rows(metric, scores, kinds)
    # One of five good parts may be above the threshold, which is 0.4: two of three defects are.
    assert metric.value(statistics) == pytest.approx(2 / 3)
    assert made(FalseAlarmRate).value(statistics) == pytest.approx(1 / 5)
    assert metric.counts(statistics) is None


def test_with_a_threshold_the_split_has_no_say():
    scores, kinds = drawn()
    recall, alarms = made(RecallAtFpr), made(FalseAlarmRate)
    statistics = recall.with_threshold(rows(recall, scores, kinds), 1.0)
    over, is_good = np.array(scores) > 1.0, np.array(kinds) == GOOD
    assert recall.value(statistics) == pytest.approx(over[~is_good].mean())
    assert alarms.value(statistics) == pytest.approx(over[is_good].mean())
    assert recall.counts(statistics) == (over[~is_good].sum(), (~is_good).sum())
    assert alarms.counts(statistics) == (over[is_good].sum(), is_good.sum())


def test_auroc_equals_that_of_scikit_learn_whatever_the_threshold():
    scores, kinds = drawn()
    metric = made(Auroc)
    statistics = rows(metric, scores, kinds)
    expected = roc_auc_score(np.array(kinds) != GOOD, scores)
    assert metric.value(statistics) == pytest.approx(expected)
    assert metric.value(metric.with_threshold(statistics, 9.0)) == pytest.approx(expected)


def test_the_interval_of_a_recall_at_a_given_threshold_is_that_of_wilson():
    scores, kinds = drawn()
    metric = made(RecallAtFpr)
    statistics = metric.with_threshold(rows(metric, scores, kinds), 1.0)
    quantity = estimate(metric, statistics, "here")
    found, defects = metric.counts(statistics)
    assert (quantity.low, quantity.high) == pytest.approx(wilson(found, defects))
    assert quantity.runs == defects
    assert "Wilson" in quantity.detail


def test_the_interval_without_a_threshold_is_wider_since_the_threshold_is_uncertain():
    scores, kinds = drawn()
    metric = made(RecallAtFpr, 0.05)
    own = rows(metric, scores, kinds)
    fixed = metric.with_threshold(own, float(np.quantile([s for s, k in zip(scores, kinds, strict=True) if k == GOOD], 0.95)))
    widths = [(quantity := estimate(metric, each, "here")).high - quantity.low for each in (own, fixed)]
    assert widths[0] > widths[1]


def test_a_loss_is_paired_over_the_same_parts():
    scores, kinds = drawn()
    metric = made(RecallAtFpr)
    first = metric.with_threshold(rows(metric, scores, kinds), 1.0)
    second = metric.with_threshold(rows(metric, [score - 0.3 for score in scores], kinds), 1.0)
    loss = loss_of(metric, first, second, "the first")
    assert loss.value == pytest.approx(metric.value(first) - metric.value(second))
    assert 0 < loss.low <= loss.value <= loss.high


def test_scores_that_are_not_finite_count_against_the_network():
    metric, alarms = made(RecallAtFpr), made(FalseAlarmRate)
    statistics = metric.with_threshold(rows(metric, [math.nan, 0.0, math.inf, 2.0], [GOOD, GOOD, 0, 0]), 1.0)
    assert alarms.value(statistics) == 0.5
    assert metric.value(statistics) == 0.5


def test_parts_of_unknown_class_count_nowhere():
    metric = made(RecallAtFpr)
    parts = PartScores.of(rows(metric, [0.0, 1.0, 2.0], [-100, GOOD, 0]))
    assert parts.good.tolist() == [1.0]
    assert parts.defective.tolist() == [2.0]


def test_without_defects_or_good_parts_there_is_no_value():
    metric, alarms = made(RecallAtFpr), made(FalseAlarmRate)
    assert math.isnan(metric.value(rows(metric, [0.0, 1.0], [GOOD, GOOD])))
    assert math.isnan(metric.value(rows(metric, [0.0, 1.0], [0, 2])))
    assert math.isnan(alarms.value(rows(metric, [0.0, 1.0], [0, 2])))
    with pytest.raises(DataError, match="no good part"):
        metric.choose_threshold(rows(metric, [0.0, 1.0], [0, 2]))
