"""Losses on features, relations and gradients against the formulas in float64, written with loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from compress.distill.losses.attention import attention_divergence, attention_transfer
from compress.distill.losses.contrastive import contrastive
from compress.distill.losses.features import cosine_distance, mean_squared_error
from compress.distill.losses.fsp import fsp_loss
from compress.distill.losses.jacobian import jacobian
from compress.distill.losses.rkd import rkd_angle, rkd_distance
from compress.distill.losses.similarity import similarity

N = 5


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-5, atol=1e-5)


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


def test_similarity_equals_the_formula_whatever_the_widths():
    s, t = draw(N, 3, 2, 2), draw(N, 7, seed=1)

    def gram(features):
        rows = features.flatten(1).numpy()
        g = np.array([[np.dot(a, b) for b in rows] for a in rows])
        return np.array([row / math.sqrt(sum(v * v for v in row)) for row in g])

    close(similarity(s.float(), t.float()), ((gram(t) - gram(s)) ** 2).sum() / N**2)


def test_fsp_equals_the_formula():
    a_s, b_s, a_t, b_t = draw(N, 2, 4, 4), draw(N, 3, 2, 2, seed=1), draw(N, 2, 4, 4, seed=2), draw(N, 3, 2, 2, seed=3)

    def flow(a, b):
        small = a.reshape(2, 2, 2, 2, 2).mean((2, 4))  # (C, 2, ·, 2, ·) → means of 2 × 2 blocks
        return np.array(
            [[sum(small[i, h, w] * b[j, h, w] for h in range(2) for w in range(2)) / 4 for j in range(3)] for i in range(2)]
        )

    expected = [((flow(a_s[n].numpy(), b_s[n].numpy()) - flow(a_t[n].numpy(), b_t[n].numpy())) ** 2).mean() for n in range(N)]
    close(fsp_loss(*(x.float() for x in (a_s, b_s, a_t, b_t))), expected)


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


def huber(d):
    return d * d / 2 if abs(d) < 1 else abs(d) - 0.5


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


def test_contrastive_equals_the_formula():
    s, t, y = F.normalize(draw(N, 4), dim=1), F.normalize(draw(N, 4, seed=1), dim=1), torch.tensor([0, 1, 0, -1, -1])
    expected = []
    for i in range(N):
        negatives = [j for j in range(N) if j != i and (y[j] != y[i] or y[i] < 0)]
        m = len(negatives)

        def h(j, i=i, m=m):
            e = math.exp(float(s[i] @ t[j]) / 0.5)
            return e / (e + m)

        expected.append(-math.log(h(i)) - sum(math.log(1 - h(j)) for j in negatives))
    close(contrastive(s.float(), t.float(), y, tau=0.5), expected)


def test_contrastive_is_lowest_where_the_vectors_of_a_class_agree():
    corners, y = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 0])
    right = contrastive(corners, corners, y, tau=0.1).mean()
    assert float(right) < float(contrastive(corners.roll(1, 0), corners, y, tau=0.1).mean()) / 10


def test_jacobian_equals_the_formula():
    s, t = draw(N, 3, 2, 2), draw(N, 3, 2, 2, seed=1)
    unit = [[x[n].flatten().numpy() / np.linalg.norm(x[n].flatten().numpy()) for n in range(N)] for x in (s, t)]
    close(jacobian(s.float(), t.float()), [((a - b) ** 2).sum() for a, b in zip(*unit, strict=True)])


AGREE = {
    "square": lambda s, t: mean_squared_error(s, t).mean(),
    "cosine": lambda s, t: cosine_distance(s, t).mean(),
    "similarity": similarity,
    "fsp": lambda s, t: fsp_loss(s, s.square(), t, t.square()).mean(),
    "attention_transfer": lambda s, t: attention_transfer(s, t).mean(),
    "attention_divergence": lambda s, t: attention_divergence(s.softmax(-1), t.softmax(-1)).mean(),
    "rkd_distance": lambda s, t: rkd_distance(s.flatten(1), t.flatten(1)),
    "rkd_angle": lambda s, t: rkd_angle(s.flatten(1), t.flatten(1)),
    "jacobian": lambda s, t: jacobian(s, t).mean(),
}


@pytest.mark.parametrize("name", AGREE)
def test_a_student_that_agrees_has_no_loss_and_no_gradient(name):
    t = draw(N, 3, 4, 4)
    s = t.clone().requires_grad_()
    loss = AGREE[name](s, t)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-9)
    assert float(s.grad.abs().max()) < 1e-8


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
