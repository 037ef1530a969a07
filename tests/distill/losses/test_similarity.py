"""Similarity-preserving distillation against its formula in float64."""

import math

import numpy as np

from compress.distill.losses.similarity import similarity
from tests.distill.losses.feature_checks import N, check_agreement, close, draw


def test_similarity_equals_the_formula_whatever_the_widths():
    s, t = draw(N, 3, 2, 2), draw(N, 7, seed=1)

    def gram(features):
        rows = features.flatten(1).numpy()
        g = np.array([[np.dot(a, b) for b in rows] for a in rows])
        return np.array([row / math.sqrt(sum(v * v for v in row)) for row in g])

    close(similarity(s.float(), t.float()), ((gram(t) - gram(s)) ** 2).sum() / N**2)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(similarity)
