"""`response` of standardised logits against its formula in float64."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

import numpy as np
import torch

from compress.distill.losses.logit_standardization import standardized_response
from tests import reference as ref
from tests.distill.losses.logit_checks import (
    check_agreement,
    check_curriculum_temperature,
    check_formula,
    check_mean,
    check_temperature_is_positive,
    formula_cases,
    logits,
)


def reference(s, t, y, T):
    z_s, z_t = ([(v - np.mean(z)) / (np.std(z) + 1e-7) for v in z] for z in (s, t))
    return T * T * ref.kl_divergence(ref.softmax(z_t, T), ref.softmax(z_s, T))


@formula_cases
def test_each_sample_equals_the_formula(temperature, seed):
    check_formula(lambda s, t, y, T: standardized_response(s, t, T=T), reference, temperature, seed)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t, y: standardized_response(s, t, T=3.0).mean())


def test_the_scale_of_the_logits_does_not_matter():
    z_s, z_t, _ = logits(8)
    torch.testing.assert_close(
        standardized_response(10 * z_s + 3, z_t, T=2.0), standardized_response(z_s, z_t, T=2.0), rtol=1e-5, atol=1e-7
    )


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("logit_standardization")


def test_the_temperature_of_a_curriculum_replaces_that_of_the_term():
    check_curriculum_temperature("logit_standardization")


def test_a_temperature_of_0_or_less_is_refused():
    check_temperature_is_positive("logit_standardization")
