"""The virtual teacher of Tf-KD against its formula in float64."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

import torch

from compress.distill.losses.virtual_teacher import virtual_teacher
from tests import reference as ref
from tests.distill.losses.logit_checks import K, N, check_formula, check_mean, check_unlabelled, formula_cases, logits


def reference(s, t, y, T):
    p = [0.9 if k == y else 0.1 / (K - 1) for k in range(K)]
    powers = [v ** (1 / T) for v in p]
    return T * T * ref.kl_divergence([v / sum(powers) for v in powers], ref.softmax(s, T))


@formula_cases
def test_each_sample_equals_the_formula(temperature, seed):
    check_formula(lambda s, t, y, T: virtual_teacher(s, y, a=0.9, T=T), reference, temperature, seed)


def test_a_student_with_its_probabilities_has_no_loss():
    _, _, y = logits(9)
    z = torch.full((N, K), 0.1 / (K - 1)).scatter(1, y.unsqueeze(1), 0.9).log()
    torch.testing.assert_close(virtual_teacher(z, y, a=0.9, T=20.0), torch.zeros(N), atol=1e-4, rtol=0)


def test_samples_without_a_label_have_no_loss():
    check_unlabelled("virtual_teacher")


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("virtual_teacher")
