import pytest
import torch
from torch.nn import functional as F

from compress.distill.losses.image_text.rdist import relation_distance


def test_rdist_compares_correlations_whatever_the_vocabulary_and_the_scale():
    teacher = torch.randn(2, 5, 6)
    turn = torch.linalg.qr(torch.randn(9, 9))[0][:6]
    assert relation_distance(3 * teacher @ turn, teacher).tolist() == pytest.approx([0, 0], abs=1e-5)
    student = torch.randn(2, 5, 4)
    r_s, r_t = (each @ each.transpose(1, 2) for each in (student, teacher))
    expected = 1 - F.cosine_similarity(r_s.flatten(1), r_t.flatten(1))
    assert relation_distance(student, teacher).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert ((expected > 0) & (expected <= 1)).all()
