import math

import pytest
import torch
from torch.nn import functional as F

from compress.tasks.text.contrastive_loss import multiple_negatives, ordered_cosines


def test_the_partner_is_found_among_other_texts():
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    cosine = F.cosine_similarity(a[:, None], b[None], dim=2).tolist()
    losses = []
    for i in range(4):
        others = [j for j in range(4) if j == i or not same[i, j]]
        losses.append(-math.log(math.exp(5 * cosine[i][i]) / sum(math.exp(5 * cosine[i][j]) for j in others)))
    assert float(multiple_negatives(a, b, same, scale=5.0)) == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_cosines_in_the_order_of_the_scores_have_little_loss():
    score = torch.tensor([0.0, 5.0, 3.0, 3.0])
    right, wrong = torch.tensor([-1.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, -1.0, 0.0, 0.0])
    total = sum(
        math.exp(4 * float(wrong[j] - wrong[i])) for i in range(4) for j in range(4) if float(score[i]) > float(score[j])
    )
    assert float(ordered_cosines(wrong, score, scale=4.0)) == pytest.approx(math.log(1 + total), rel=1e-5)
    assert float(ordered_cosines(right, score, scale=40.0)) < 1e-6
    assert float(ordered_cosines(right, torch.ones(4), scale=4.0)) == 0
