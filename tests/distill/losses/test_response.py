import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compress.distill.losses.response import Response, response
from tests.distill.losses.logit_checks import (
    check_agreement,
    check_curriculum_temperature,
    check_mean,
    check_temperature_is_positive,
)


def reference(z_s, z_t, temperature):
    """The formula in float64, term by term."""
    softened = [z.astype(np.float64) / temperature for z in (z_s, z_t)]
    log_p_s, log_p_t = (z - np.log(np.exp(z).sum(1, keepdims=True)) for z in softened)
    return temperature**2 * (np.exp(log_p_t) * (log_p_t - log_p_s)).sum(1).mean()


@given(st.integers(1, 16), st.integers(2, 20), st.floats(0.5, 20.0), st.integers(0, 1000))
def test_response_equals_the_formula_in_float64(n, k, temperature, seed):
    z_s, z_t = 3 * torch.randn(2, n, k, generator=torch.Generator().manual_seed(seed))
    expected = reference(z_s.numpy(), z_t.numpy(), temperature)
    assert float(response(z_s, z_t, T=temperature).mean()) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    z_t = torch.randn(8, 10, generator=torch.Generator().manual_seed(0))
    z_s = (z_t + 5.0).requires_grad_()  # a constant on all logits changes no answer
    loss = response(z_s, z_t, T=4.0).mean()
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    assert float(z_s.grad.abs().max()) < 1e-6


def test_the_gradient_is_that_of_the_paper():
    z_s, z_t = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z_s.requires_grad_()
    response(z_s, z_t, T=3.0).mean().backward()
    expected = 3.0 * (torch.softmax(z_s.detach() / 3, 1) - torch.softmax(z_t / 3, 1)) / 6
    torch.testing.assert_close(z_s.grad, expected)


def test_the_teacher_gets_no_gradient_through_the_term():
    assert Response.needs == ("teacher_logits",)
    assert Response().temperature == 4.0


def test_a_student_that_agrees_in_float64_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t, _: response(s, t, T=3.0).mean())


def test_the_term_is_the_mean_of_its_samples_weighted_where_they_are():
    check_mean("response")


def test_the_temperature_of_a_curriculum_replaces_that_of_the_term():
    check_curriculum_temperature("response")


def test_a_temperature_of_0_or_less_is_refused():
    check_temperature_is_positive("response")
