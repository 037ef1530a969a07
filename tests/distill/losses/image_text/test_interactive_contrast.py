import pytest
import torch

from compress.data.batch import Batch
from compress.distill.losses.image_text.interactive_contrast import InteractiveContrast, interactive_contrast
from compress.distill.losses.image_text.tower_vectors import towers_of
from compress.tasks.image_text.contrastive_loss import image_text_contrast
from compress.train.loss_term import LossInputs

ALONE = torch.eye(5, dtype=torch.bool)


def test_with_itself_as_teacher_it_is_the_contrastive_loss():
    v, t = towers_of(torch.randn(10, 4))
    own = float(image_text_contrast(v, t, ALONE, scale=10.0))
    assert float(interactive_contrast((v, t), (v, t), ALONE, temperature=0.1)) == pytest.approx(own, rel=1e-5)


def test_a_student_equal_to_a_perfect_teacher_has_no_loss_and_equal_texts_are_no_negatives():
    rows = torch.cat([torch.eye(5), torch.eye(5)])
    numbers = {"image_number": torch.arange(5), "text_number": torch.arange(5)}
    inputs = LossInputs(Batch({"image": torch.zeros(5, 1)}, numbers), rows, rows, None)
    assert float(InteractiveContrast().forward(inputs)) == pytest.approx(0, abs=1e-4)
    swapped = rows.clone()
    swapped[[0, 1]] = swapped[[1, 0]]
    wrong = LossInputs(inputs.batch, swapped, rows, None)
    before = float(InteractiveContrast().forward(wrong))
    assert before > 1
    numbers["text_number"][1] = 0  # the texts of the exchanged vectors are the same
    assert float(InteractiveContrast().forward(wrong)) < before / 10
