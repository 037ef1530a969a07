"""DKD against its formula in float64, and its relation to `response`."""

import torch

from compress.core.registry import lookup
from compress.distill.losses.dkd import dkd
from compress.distill.losses.response import response
from tests import reference as ref
from tests.distill.losses.logit_checks import (
    N,
    check_agreement,
    check_curriculum_temperature,
    check_formula,
    check_mean,
    check_temperature_is_positive,
    formula_cases,
    logits,
    loss_inputs,
)


def reference(s, t, y, T):
    p_s, p_t = ref.softmax(s, T), ref.softmax(t, T)
    binary = ref.kl_divergence([p_t[y], 1 - p_t[y]], [p_s[y], 1 - p_s[y]])
    q_s, q_t = ([v / (1 - p[y]) for k, v in enumerate(p) if k != y] for p in (p_s, p_t))
    return T * T * (1.5 * binary + 4.0 * ref.kl_divergence(q_t, q_s))


@formula_cases
def test_each_sample_equals_the_formula(temperature, seed):
    check_formula(lambda s, t, y, T: dkd(s, t, y, alpha=1.5, beta=4.0, T=T), reference, temperature, seed)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t, y: dkd(s, t, y, alpha=1.0, beta=8.0, T=3.0).mean())


def test_with_the_papers_weights_it_is_response():
    z_s, z_t, y = logits(7)
    p_t = (z_t / 2).softmax(1).gather(1, y.unsqueeze(1)).squeeze(1)
    parts = [dkd(z_s, z_t, y, alpha=a, beta=1.0 - a, T=2.0) for a in (1.0, 0.0)]
    torch.testing.assert_close(parts[0] + (1 - p_t) * parts[1], response(z_s, z_t, T=2.0))


def test_without_any_label_it_is_finite():
    assert bool(torch.isfinite(lookup("loss", "decoupled").load()().forward(loss_inputs(torch.full((N,), -1)))))


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("decoupled")


def test_the_temperature_of_a_curriculum_replaces_that_of_the_term():
    check_curriculum_temperature("decoupled")


def test_a_temperature_of_0_or_less_is_refused():
    check_temperature_is_positive("decoupled")
