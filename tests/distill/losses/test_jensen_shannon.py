"""The generalised Jensen-Shannon divergence against its formula in float64."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

import torch

from compress.distill.losses.jensen_shannon import jensen_shannon
from compress.distill.losses.response import response
from compress.distill.losses.reverse_kl import reverse_kl
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
    p_s, p_t = ref.softmax(s, T), ref.softmax(t, T)
    m = [0.3 * b + 0.7 * a for a, b in zip(p_s, p_t, strict=True)]
    return T * T * (0.3 * ref.kl_divergence(p_t, m) + 0.7 * ref.kl_divergence(p_s, m))


@formula_cases
def test_each_sample_equals_the_formula(temperature, seed):
    check_formula(lambda s, t, y, T: jensen_shannon(s, t, beta=0.3, T=T), reference, temperature, seed)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t, y: jensen_shannon(s, t, beta=0.3, T=3.0).mean())


def test_the_divergences_meet_at_the_ends_of_beta():
    z_s, z_t, _ = logits(6, scale=0.5)
    forward, backward = response(z_s, z_t, T=1.0), reverse_kl(z_s, z_t, T=1.0)
    torch.testing.assert_close(jensen_shannon(z_s, z_t, beta=1e-6, T=1.0) / 1e-6, forward, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(jensen_shannon(z_s, z_t, beta=1 - 1e-6, T=1.0) / 1e-6, backward, rtol=1e-3, atol=1e-6)


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("jensen_shannon")


def test_the_temperature_of_a_curriculum_replaces_that_of_the_term():
    check_curriculum_temperature("jensen_shannon")


def test_a_temperature_of_0_or_less_is_refused():
    check_temperature_is_positive("jensen_shannon")
