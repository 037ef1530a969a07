import pytest
import torch
from torch.nn import functional as F

from compress.distill.losses.image_text.affinity import affinity


def towers(seed, width):
    generator = torch.Generator().manual_seed(seed)
    return tuple(F.normalize(torch.randn(6, width, generator=generator), dim=1) for _ in range(2))


def test_it_is_the_mean_divergence_of_the_rows_of_both_matrices():
    student, teacher = towers(0, 4), towers(1, 9)
    expected = 0.0
    for a, b in ((0, 1), (1, 0)):
        p, q = ((pair[a] @ pair[b].T / 0.1).softmax(1) for pair in (teacher, student))
        expected += float((p * (p.log() - q.log())).sum(1).mean()) / 2
    assert float(affinity(student, teacher, temperature=0.1, teacher_temperature=0.1)) == pytest.approx(expected, rel=1e-5)


def test_it_is_zero_for_equal_similarities_whatever_the_dimensions():
    teacher = towers(0, 5)
    turn = torch.linalg.qr(torch.randn(8, 8))[0][:5]
    student = tuple(each @ turn for each in teacher)
    assert float(affinity(student, teacher, temperature=0.07, teacher_temperature=0.07)) == pytest.approx(0, abs=1e-5)
    assert float(affinity(student, teacher, temperature=0.07, teacher_temperature=0.2)) > 0.01
