"""FSP matrices against their formula in float64, written with loops."""

import numpy as np

from compress.distill.losses.fsp import fsp_loss
from tests.distill.losses.feature_checks import N, check_agreement, close, draw


def test_fsp_equals_the_formula():
    a_s, b_s, a_t, b_t = draw(N, 2, 4, 4), draw(N, 3, 2, 2, seed=1), draw(N, 2, 4, 4, seed=2), draw(N, 3, 2, 2, seed=3)

    def flow(a, b):
        small = a.reshape(2, 2, 2, 2, 2).mean((2, 4))  # (C, 2, ·, 2, ·) → means of 2 × 2 blocks
        return np.array(
            [[sum(small[i, h, w] * b[j, h, w] for h in range(2) for w in range(2)) / 4 for j in range(3)] for i in range(2)]
        )

    expected = [((flow(a_s[n].numpy(), b_s[n].numpy()) - flow(a_t[n].numpy(), b_t[n].numpy())) ** 2).mean() for n in range(N)]
    close(fsp_loss(*(x.float() for x in (a_s, b_s, a_t, b_t))), expected)


def test_a_student_that_agrees_has_no_loss_and_no_gradient():
    check_agreement(lambda s, t: fsp_loss(s, s.square(), t, t.square()).mean())
