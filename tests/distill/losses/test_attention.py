"""Losses on attention against their formulas in float64."""

import math

import numpy as np

from compress.distill.losses.attention import attention_divergence, attention_transfer
from tests.distill.losses.feature_checks import N, check_agreement, close, draw


def test_attention_transfer_equals_the_formula():
    s, t = draw(N, 3, 4, 4), draw(N, 5, 4, 4, seed=1)

    def q(f):
        total = (f.numpy() ** 2).sum(0).reshape(-1)
        return total / np.sqrt((total**2).sum())

    close(attention_transfer(s.float(), t.float()), [((q(s[n]) - q(t[n])) ** 2).sum() for n in range(N)])


def test_the_divergence_of_attention_equals_the_formula():
    s, t = draw(N, 2, 3, 3).softmax(-1), draw(N, 2, 3, 3, seed=1).softmax(-1)
    expected = [
        np.mean(
            [sum(t[n, h, i, j] * math.log(t[n, h, i, j] / s[n, h, i, j]) for j in range(3)) for h in range(2) for i in range(3)]
        )
        for n in range(N)
    ]
    close(attention_divergence(s.float(), t.float()), expected)


def test_a_student_that_agrees_has_no_loss_and_no_gradient_in_activation_maps():
    check_agreement(lambda s, t: attention_transfer(s, t).mean())


def test_a_student_that_agrees_has_no_loss_and_no_gradient_in_attention():
    check_agreement(lambda s, t: attention_divergence(s.softmax(-1), t.softmax(-1)).mean())
