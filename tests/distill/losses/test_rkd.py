"""RKD against its formulas in float64, written with loops over pairs and triples."""

import itertools
import math

import numpy as np
import pytest
import torch

from compress.distill.losses.rkd import rkd_angle, rkd_distance
from tests.distill.losses.feature_checks import N, check_agreement, close, draw
from tests.reference import huber


def test_rkd_distance_equals_the_formula():
    s, t = draw(N, 3).numpy(), draw(N, 4, seed=1).numpy()

    def psi(x):
        lengths = {(i, j): math.dist(x[i], x[j]) for i, j in itertools.permutations(range(N), 2)}
        mean = sum(lengths.values()) / len(lengths)
        return {key: value / mean for key, value in lengths.items()}

    a, b = psi(s), psi(t)
    close(rkd_distance(torch.tensor(s).float(), torch.tensor(t).float()), sum(huber(a[key] - b[key]) for key in a) / N**2)


def test_rkd_angle_equals_the_formula():
    s, t = draw(N, 3).numpy(), draw(N, 4, seed=1).numpy()

    def psi(x, i, j, k):
        if j in (i, k):
            return 0.0
        e, f = x[i] - x[j], x[k] - x[j]
        return np.dot(e, f) / math.sqrt(np.dot(e, e) * np.dot(f, f))

    total = sum(huber(psi(s, i, j, k) - psi(t, i, j, k)) for i, j, k in itertools.product(range(N), repeat=3))
    close(rkd_angle(torch.tensor(s).float(), torch.tensor(t).float()), total / N**3)


def test_a_student_that_agrees_has_no_loss_and_no_gradient_in_distances():
    check_agreement(lambda s, t: rkd_distance(s.flatten(1), t.flatten(1)))


def test_a_student_that_agrees_has_no_loss_and_no_gradient_in_angles():
    check_agreement(lambda s, t: rkd_angle(s.flatten(1), t.flatten(1)))


def test_relations_do_not_mind_size_and_rotation():
    t = draw(N, 4)
    turn = torch.linalg.qr(draw(4, 4, seed=3))[0]
    for loss in (rkd_distance, rkd_angle):
        assert float(loss(3 * t @ turn + 1, t)) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
def test_equal_vectors_leave_the_gradient_finite(loss):
    s = torch.zeros(N, 3, requires_grad=True)
    loss(s, draw(N, 3).float()).backward()
    assert bool(torch.isfinite(s.grad).all())
