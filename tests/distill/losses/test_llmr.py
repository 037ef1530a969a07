"""Rewards that the teacher's logits induce, and the gradient of texts that are all enumerated."""

import pytest
import torch

from compress.distill.losses.llmr import Llmr, induced_rewards
from tests.distill.losses.enumerated_texts import TEXTS, expected_gradient, log_prob, rows_of, tables


def test_rewards_are_the_values_of_tokens_less_the_best_that_follows():
    q = torch.tensor([[1.0, 5.0], [2.0, 3.0], [7.0, 4.0]])
    rewards = induced_rewards(q, torch.tensor([1, 0, 1]), torch.tensor([0, 0, 1]))
    assert rewards.tolist() == [5.0 - 3.0, 2.0, 4.0]


def test_the_sum_of_the_rewards_of_a_text_tells_how_far_its_tokens_are_from_the_best():
    q = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    tokens, samples = torch.tensor([0, 3, 2, 1, 1]), torch.zeros(5, dtype=torch.int64)
    gaps = q.gather(1, tokens[:, None])[:, 0] - q.amax(dim=1)
    assert float(induced_rewards(q, tokens, samples).sum()) == pytest.approx(float(gaps.sum() + q[0].max()), rel=1e-5)


def test_the_expected_gradient_is_that_of_the_mean_reward_and_knows_no_constant_of_a_state():
    student, teacher = tables(0), tables(1)

    def reward(table, text):
        y = torch.tensor(text)
        return float(induced_rewards(rows_of(table, y).detach(), y, torch.zeros(2, dtype=torch.int64)).sum())

    objective = -sum(log_prob(student, text).exp() * reward(teacher, text) for text in TEXTS)
    exact = torch.autograd.grad(objective, student)
    shifted = [teacher[0] + 3.0, teacher[1] + torch.tensor([[1.0], [-2.0], [5.0]])]
    for table in (teacher, shifted):
        found = expected_gradient(student, table, Llmr(whiten=False))
        for one, other in zip(found, exact, strict=True):
            assert torch.allclose(one, other, atol=1e-10)


def test_it_is_for_texts_of_the_student_alone():
    assert Llmr().applies_to(sampled=True)
    assert not Llmr().applies_to(sampled=False)
