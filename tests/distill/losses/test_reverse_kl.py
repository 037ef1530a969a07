"""Reverse KL against its formula in float64."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

from compress.distill.losses.reverse_kl import reverse_kl
from tests import reference as ref
from tests.distill.losses.logit_checks import (
    check_agreement,
    check_curriculum_temperature,
    check_formula,
    check_mean,
    check_temperature_is_positive,
    formula_cases,
)


def reference(s, t, y, T):
    return T * T * ref.kl_divergence(ref.softmax(s, T), ref.softmax(t, T))


@formula_cases
def test_each_sample_equals_the_formula(temperature, seed):
    check_formula(lambda s, t, y, T: reverse_kl(s, t, T=T), reference, temperature, seed)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t, y: reverse_kl(s, t, T=3.0).mean())


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("reverse")


def test_the_temperature_of_a_curriculum_replaces_that_of_the_term():
    check_curriculum_temperature("reverse")


def test_a_temperature_of_0_or_less_is_refused():
    check_temperature_is_positive("reverse")
