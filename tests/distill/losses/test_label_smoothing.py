"""Label smoothing against its formula in float64."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

import math

from compress.distill.losses.label_smoothing import label_smoothing
from tests import reference as ref
from tests.distill.losses.logit_checks import (
    K,
    check_formula,
    check_mean,
    check_unlabelled,
    formula_cases,
)


def reference(s, t, y, T):
    return -sum((0.9 * (k == y) + 0.1 / K) * math.log(p) for k, p in enumerate(ref.softmax(s)))


@formula_cases
def test_each_sample_equals_the_formula(temperature, seed):
    check_formula(lambda s, t, y, T: label_smoothing(s, y, epsilon=0.1), reference, temperature, seed)


def test_samples_without_a_label_have_no_loss():
    check_unlabelled("label_smoothing")


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("label_smoothing")
