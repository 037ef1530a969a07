import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from compress.tasks.operating_point import auroc, parts_needed, threshold_for_new, threshold_on


def drawn(seed, good=80, defective=50, digits=3):
    generator = np.random.default_rng(seed)
    return generator.normal(0, 1, good).round(digits), generator.normal(1.5, 1, defective).round(digits)


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_point_of_the_roc_curve(seed, fpr):
    good, defective = drawn(seed)
    threshold = threshold_on(good, fpr)
    rates, recalls, _ = roc_curve([0] * len(good) + [1] * len(defective), np.concatenate([good, defective]))
    assert (good > threshold).mean() <= fpr
    assert (defective > threshold).mean() == pytest.approx(recalls[rates <= fpr].max())


def test_no_lower_threshold_holds_the_rate():
    good, _ = drawn(0)
    for fpr in (0.01, 0.05, 0.2):
        threshold = threshold_on(good, fpr)
        lower = max(good[good < threshold])
        assert (good > lower).mean() > fpr


def test_a_rate_that_is_a_whole_number_of_parts_is_used_in_full():
    assert (np.arange(10) > threshold_on(np.arange(10), 0.3)).sum() == 3


def test_the_threshold_for_new_parts_holds_the_rate_in_the_mean():
    generator = np.random.default_rng(0)
    rates = [(generator.random(500) > threshold_for_new(generator.random(40), 0.05)).mean() for _ in range(2000)]
    # Of 40 parts the second largest of the order statistics is taken: P(new > it) is 2 of 41.
    assert np.mean(rates) == pytest.approx(2 / 41, abs=0.003)
    on_the_same = [(generator.random(500) > threshold_on(generator.random(40), 0.05)).mean() for _ in range(2000)]
    assert np.mean(on_the_same) > 0.06


def test_with_too_few_parts_the_largest_score_is_taken():
    assert parts_needed(0.05) == 19
    assert parts_needed(0.01) == 99
    assert threshold_for_new(np.arange(19), 0.05) == 18
    assert threshold_for_new(np.arange(5), 0.05) == 4
    assert threshold_for_new(np.arange(100), 0.05) == 95


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_auroc_equals_that_of_scikit_learn_also_with_ties(digits):
    good, defective = drawn(1, digits=digits)
    expected = roc_auc_score([0] * len(good) + [1] * len(defective), np.concatenate([good, defective]))
    assert auroc(good, defective) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_infinite_scores_and_of_none():
    assert auroc(np.array([0.0, math.inf]), np.array([1.0, -math.inf])) == 0.25
    assert math.isnan(auroc(np.array([]), np.array([1.0])))
    assert math.isnan(auroc(np.array([1.0]), np.array([])))
