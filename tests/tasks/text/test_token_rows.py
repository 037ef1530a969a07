import torch

from compress.tasks.text import token_rows as module
from compress.tasks.text.token_rows import token_rows


def test_padding_has_no_row_and_tokens_without_a_class_have_one():
    z = torch.randn(2, 3, 4)
    y = torch.tensor([[1, -1, -100], [2, -100, -100]])
    rows = token_rows(z, y)
    assert rows.targets.tolist() == [1, -1, 2]
    assert rows.samples.tolist() == [0, 0, 1]
    assert torch.equal(rows.logits, torch.stack([z[0, 0], z[0, 1], z[1, 0]]))


def test_of_many_tokens_the_same_ones_are_chosen_for_student_and_teacher(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 5)
    y = torch.randint(0, 4, (3, 6))
    z = torch.arange(18.0).reshape(3, 6, 1)
    student, teacher = token_rows(z, y), token_rows(z + 100, y)
    assert len(student.logits) == 5
    assert torch.equal(student.logits + 100, teacher.logits)
    assert torch.equal(student.targets, y.flatten()[student.logits.flatten().long()])
