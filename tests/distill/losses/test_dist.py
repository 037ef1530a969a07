"""DIST against its formula in float64, with the correlations of NumPy."""

# ruff: noqa: ARG005 - losses with different inputs are called alike

import numpy as np
import pytest
import torch

from compress.distill.losses.dist import dist
from tests import reference as ref
from tests.distill.losses.logit_checks import K, N, check_agreement, check_temperature_is_positive, logits


def reference(z_s, z_t, temperature, beta, gamma):
    p_s, p_t = (np.array([ref.softmax(row, temperature) for row in z.tolist()]) for z in (z_s, z_t))
    inter = np.mean([np.corrcoef(p_s[n], p_t[n])[0, 1] for n in range(N)])
    intra = np.mean([np.corrcoef(p_s[:, k], p_t[:, k])[0, 1] for k in range(K)])
    return temperature**2 * (beta * (1 - inter) + gamma * (1 - intra))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist_equals_the_formula(temperature):
    z_s, z_t, _ = logits(3)
    loss = dist(z_s.float(), z_t.float(), beta=2.0, gamma=0.5, T=temperature)
    assert float(loss) == pytest.approx(reference(z_s, z_t, temperature, 2.0, 0.5), abs=1e-5)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t, y: dist(s, t, beta=1.0, gamma=1.0, T=3.0))


def test_an_affine_change_of_the_probabilities_does_not_matter():
    p_t = torch.rand(N, K, dtype=torch.float64)
    p_t /= p_t.sum(1, keepdim=True)
    p_s = 0.5 * p_t + 0.5 / K
    assert float(dist(p_s.log(), p_t.log(), beta=1.0, gamma=1.0, T=1.0)) == pytest.approx(0.0, abs=1e-12)


def test_a_temperature_of_0_or_less_is_refused():
    check_temperature_is_positive("dist")
