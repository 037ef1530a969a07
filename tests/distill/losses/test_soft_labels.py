"""Cross-entropy with soft labels against its formula in float64, and its relation to `response`."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

import math

import numpy as np
import torch

from compress.distill.losses.response import response
from compress.distill.losses.soft_labels import soft_labels
from tests import reference as ref
from tests.distill.losses.logit_checks import (
    check_curriculum_temperature,
    check_formula,
    check_mean,
    check_temperature_is_positive,
    formula_cases,
    logits,
)


def reference(s, t, y, T):
    return -T * T * sum(a * math.log(b) for a, b in zip(ref.softmax(t, T), ref.softmax(s, T), strict=True))


@formula_cases
def test_each_sample_equals_the_formula(temperature, seed):
    check_formula(lambda s, t, y, T: soft_labels(s, t, T=T), reference, temperature, seed)


def test_of_a_student_that_agrees_it_is_the_entropy_without_gradient():
    _, z_t, _ = logits(4)
    z_s = z_t.clone().requires_grad_()
    loss = soft_labels(z_s, z_t, T=2.0)
    loss.mean().backward()
    entropy = [-4 * sum(p * math.log(p) for p in ref.softmax(row, 2.0)) for row in z_t.tolist()]
    np.testing.assert_allclose(loss.detach().numpy(), entropy)
    assert float(z_s.grad.abs().max()) < 1e-12


def test_it_has_the_gradient_of_response():
    z_s, z_t, _ = logits(5)
    gradients = []
    for loss in (response, soft_labels):
        z = z_s.clone().requires_grad_()
        loss(z, z_t, T=2.0).sum().backward()
        gradients.append(z.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("soft_labels")


def test_the_temperature_of_a_curriculum_replaces_that_of_the_term():
    check_curriculum_temperature("soft_labels")


def test_a_temperature_of_0_or_less_is_refused():
    check_temperature_is_positive("soft_labels")
