"""Rewards of an environment against the gradient of the expected reward, which is computed from all texts."""

import pytest
import torch

from compress.distill.losses.environment_reward import EnvironmentReward
from compress.distill.losses.llmr import Llmr
from compress.distill.losses.minillm import MiniLlm
from compress.train.loss_term import REWARD
from tests.distill.losses.enumerated_texts import TEXTS, expected_gradient, log_prob, tables

PLAIN = {"gamma": 1.0, "whiten": False}
VALUES = {text: float(number % 3) for number, text in enumerate(TEXTS)}


def gradient_of_reward(student):
    """∇ −E[reward]."""
    expected = sum(log_prob(student, text).exp() * -VALUES[text] for text in TEXTS)
    return torch.autograd.grad(expected, student)


class Rewarded:
    """A loss whose batches have the reward of their text at its last token."""

    def __init__(self, term):
        self.term = term

    def forward(self, inputs):
        y = inputs.batch.targets["target"]
        reward = torch.zeros_like(y, dtype=torch.float64)
        text = tuple(token for token in y[0].tolist() if token >= 0)
        reward[0, (y[0] >= 0).nonzero()[-1]] = VALUES[text]
        inputs.batch.targets[REWARD] = reward
        return self.term.forward(inputs)


def test_the_expected_gradient_is_that_of_the_mean_reward():
    student, teacher = tables(0), tables(1)
    found = expected_gradient(student, teacher, Rewarded(EnvironmentReward(**PLAIN)))
    for one, other in zip(found, gradient_of_reward(student), strict=True):
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(
    "term",
    [MiniLlm(length_normalization=False, **PLAIN), MiniLlm(single_step=False, **PLAIN), Llmr(**PLAIN)],
    ids=["minillm", "minillm without single step", "llmr"],
)
def test_a_shaped_reward_adds_its_gradient(term):
    student, teacher = tables(0), tables(1)
    shaped = term.model_copy(update={"reward_weight": 0.7})
    alone = expected_gradient(student, teacher, term)
    found = expected_gradient(student, teacher, Rewarded(shaped))
    for one, other, reward in zip(found, alone, gradient_of_reward(student), strict=True):
        assert torch.allclose(one, other + 0.7 * reward, atol=1e-10)


def test_it_is_for_texts_of_the_student_and_needs_no_teacher():
    assert EnvironmentReward.needs == ()
    assert not EnvironmentReward().applies_to(sampled=False)
    assert EnvironmentReward().uses_reward
    assert not MiniLlm().uses_reward
