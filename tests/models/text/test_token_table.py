from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.models.text.token_table import find_table, principal_projection, start_from_teacher


def test_the_projection_is_the_best_of_its_rank():
    table = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 9.0)
    rows, kept = principal_projection(table, 3)
    centred = table - table.mean(0)
    singular = torch.linalg.svdvals(centred)
    assert kept == pytest.approx(float(singular[:3].square().sum() / singular.square().sum()), rel=1e-5)
    torch.testing.assert_close(rows.norm(dim=0), singular[:3], rtol=1e-4, atol=1e-4)
    assert rows.T @ rows == pytest.approx(torch.diag(singular[:3] ** 2), abs=1e-2)
    whole, all_of_it = principal_projection(table, 8)
    torch.testing.assert_close(torch.pdist(whole), torch.pdist(table), rtol=1e-3, atol=1e-3)
    assert all_of_it == pytest.approx(1.0)


def test_a_student_gets_rows_of_its_own_scale_and_misfits_are_told():
    teacher = nn.Sequential(nn.Embedding(2, 6), nn.Embedding(20, 6))
    student = nn.Embedding(20, 4)
    before = student.weight.detach().square().mean()
    kept = start_from_teacher(student, teacher, "text_student:cnn")
    assert 0.5 < kept < 1.0
    torch.testing.assert_close(student.weight.detach().square().mean(), before)
    distances = torch.cdist(student.weight, student.weight).detach().flatten()
    expected = torch.cdist(
        principal_projection(teacher[1].weight.detach(), 4)[0], principal_projection(teacher[1].weight.detach(), 4)[0]
    ).flatten()
    assert float(torch.corrcoef(torch.stack([distances, expected]))[0, 1]) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ModelError, match="it has 21 tokens and the teacher has 20"):
        start_from_teacher(nn.Embedding(21, 4), teacher, "text_student:cnn")
    with pytest.raises(ModelError, match=r"width 9, .* have 6; set args\.embedding to 6 or less"):
        start_from_teacher(nn.Embedding(20, 9), teacher, "text_student:cnn")


def test_the_table_of_tokens_is_found():
    network = nn.Sequential(nn.Embedding(3, 2), nn.Embedding(9, 2), nn.Embedding(9, 4))
    assert [found[0] if (found := find_table(network, count)) else None for count in (3, 9, 4, None)] == ["0", "1", None, "1"]
