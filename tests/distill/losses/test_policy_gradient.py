"""Sums of rewards and the clipped objective against loops over texts."""

import math

import pytest
import torch

from compress.distill.losses.policy_gradient import (
    clipped_objective,
    discounted_sums,
    next_rows,
    places,
    token_log_probs,
    whitened,
)

SAMPLES = torch.tensor([0, 0, 0, 2, 3, 3])
REWARDS = torch.tensor([1.0, 2.0, -1.0, 5.0, 0.5, 4.0])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_sums_run_over_the_later_tokens_of_the_same_text(gamma):
    expected = [
        sum(gamma ** (later - row) * float(REWARDS[later]) for later in range(row, 6) if SAMPLES[later] == SAMPLES[row])
        for row in range(6)
    ]
    assert discounted_sums(REWARDS, SAMPLES, gamma).tolist() == pytest.approx(expected)
    assert discounted_sums(REWARDS[:0], SAMPLES[:0], gamma).shape == (0,)


def test_a_text_has_the_same_sums_beside_any_other():
    alone = discounted_sums(REWARDS[:3], SAMPLES[:3], 0.9)
    assert torch.equal(discounted_sums(REWARDS, SAMPLES, 0.9)[:3], alone)


def test_places_and_next_rows_stay_inside_a_text():
    text, place, later = places(SAMPLES)
    assert text.tolist() == [0, 0, 0, 1, 2, 2]
    assert place.tolist() == [0, 1, 2, 0, 0, 1]
    assert later.tolist() == [2, 1, 0, 0, 1, 0]
    assert next_rows(REWARDS, SAMPLES).tolist() == [2.0, -1.0, 0.0, 0.0, 4.0, 0.0]


def test_whitened_values_have_mean_0_and_variance_1():
    values = whitened(REWARDS)
    assert float(values.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(values.var(unbiased=False)) == pytest.approx(1.0, abs=1e-5)
    assert whitened(torch.ones(3)).tolist() == [0.0, 0.0, 0.0]


def test_the_first_gradient_is_that_of_the_advantage_times_log_p():
    log_p = torch.tensor([-1.0, -2.0], requires_grad=True)
    advantages = torch.tensor([3.0, -4.0])
    clipped_objective(log_p, log_p.detach(), advantages, torch.ones(2), 0.2).sum().backward()
    assert log_p.grad.tolist() == pytest.approx([-3.0, 4.0])


@pytest.mark.parametrize(("ratio", "advantage", "has_gradient"), [(1.5, 1.0, False), (1.5, -1.0, True), (0.5, -1.0, False)])
def test_a_ratio_beyond_the_limit_has_no_gradient_where_it_would_grow(ratio, advantage, has_gradient):
    log_p = torch.tensor([math.log(ratio)], requires_grad=True)
    loss = clipped_objective(log_p, torch.zeros(1), torch.tensor([advantage]), torch.ones(1), 0.2)
    loss.sum().backward()
    assert bool(log_p.grad.abs().sum() > 0) is has_gradient
    assert loss.item() == pytest.approx(max(-advantage * ratio, -advantage * min(max(ratio, 0.8), 1.2)))


def test_probabilities_that_differ_very_much_give_a_finite_loss():
    log_p = torch.tensor([0.0], requires_grad=True)
    loss = clipped_objective(log_p, torch.tensor([-500.0]), torch.tensor([-1.0]), torch.ones(1), 0.2)
    assert bool(loss.isfinite().all())


def test_half_precision_logits_are_read_in_float32():
    z = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    y = torch.tensor([0, 1, 2, 3])
    assert token_log_probs(z, y).dtype == torch.float32
    assert torch.allclose(token_log_probs(z.double(), y).float(), token_log_probs(z, y), atol=1e-6)
