import pytest
import torch

from compress.core.errors import TrainingError
from compress.distill.losses.image_text.feature_mimicking import FeatureMimicking, feature_mimicking
from compress.distill.losses.image_text.tower_vectors import towers_of
from compress.train.loss_term import LossInputs


def test_it_is_two_less_twice_the_cosine_of_each_tower():
    student, teacher = (towers_of(torch.randn(10, 4)) for _ in range(2))
    cosines = [(a * b).sum(1).mean() for a, b in zip(student, teacher, strict=True)]
    assert float(feature_mimicking(student, teacher)) == pytest.approx(float(4 - 2 * sum(cosines)), rel=1e-5)
    assert float(feature_mimicking(teacher, teacher)) == 0


def test_other_dimensions_are_told_with_the_cure():
    inputs = LossInputs(None, torch.randn(6, 4), torch.randn(6, 8), None)
    with pytest.raises(TrainingError, match=r"student's have 4 dimensions, the teacher's 8: set args\.dimensions"):
        FeatureMimicking().forward(inputs)
