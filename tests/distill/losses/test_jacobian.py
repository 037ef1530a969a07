"""Matching of input gradients against its formula in float64."""

import numpy as np

from compress.distill.losses.jacobian import jacobian
from tests.distill.losses.feature_checks import N, check_agreement, close, draw


def test_jacobian_equals_the_formula():
    s, t = draw(N, 3, 2, 2), draw(N, 3, 2, 2, seed=1)
    unit = [[x[n].flatten().numpy() / np.linalg.norm(x[n].flatten().numpy()) for n in range(N)] for x in (s, t)]
    close(jacobian(s.float(), t.float()), [((a - b) ** 2).sum() for a, b in zip(*unit, strict=True)])


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t: jacobian(s, t).mean())
