"""Direct losses on features against their formulas in float64."""

import math

import numpy as np

from compress.distill.losses.features import cosine_distance, mean_squared_error
from tests.distill.losses.feature_checks import N, check_agreement, close, draw


def test_square_equals_the_formula():
    s, t = draw(N, 3, 4, 4), draw(N, 3, 4, 4, seed=1)
    expected = [
        np.mean([(a - b) ** 2 for a, b in zip(s[n].flatten().tolist(), t[n].flatten().tolist(), strict=True)]) for n in range(N)
    ]
    close(mean_squared_error(s.float(), t.float()), expected)


def test_cosine_equals_the_formula():
    s, t = draw(N, 6), draw(N, 6, seed=1)
    expected = [1 - np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)) for a, b in zip(s.numpy(), t.numpy(), strict=True)]
    close(cosine_distance(s.float(), t.float()), expected)


def test_a_student_that_agrees_has_no_loss_and_no_gradient_in_l2():
    check_agreement(lambda s, t: mean_squared_error(s, t).mean())


def test_a_student_that_agrees_has_no_loss_and_no_gradient_in_direction():
    check_agreement(lambda s, t: cosine_distance(s, t).mean())
