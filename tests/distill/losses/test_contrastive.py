"""The contrastive loss against its formula in float64."""

import math

import torch
from torch.nn import functional as F

from compress.distill.losses.contrastive import contrastive
from tests.distill.losses.feature_checks import N, close, draw


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
