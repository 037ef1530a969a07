"""What is said of a stage once it is measured."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.core.stage import Candidate
from compress.pipeline.evaluation import check_outputs, no_gain_warning
from compress.tasks.classification import Classification
from compress.tasks.metric_quantity import gain_of
from tests.export.tiny import SPEC, split


class Standardized(nn.Module):
    """Subtracts the mean of each image and divides by its standard deviation."""

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        return x.mean((2, 3))[:, :1] * torch.ones(4)


def test_a_black_image_refuses_no_network() -> None:
    samples = split(8, 0)
    samples.inputs[0] = 0.0
    check_outputs(Candidate(SPEC, Standardized()), "start", samples)
    samples.inputs[1:] *= torch.nan
    with pytest.raises(ModelError, match="for 7 of 7 samples; the samples themselves hold such values"):
        check_outputs(Candidate(SPEC, Standardized()), "start", samples)


def test_a_network_whose_outputs_are_not_finite_is_refused() -> None:
    broken = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    nn.init.constant_(broken[2].bias, torch.inf)
    with pytest.raises(ModelError, match=r"after train .* not finite numbers for 8 of 8 samples; lower its learning rate"):
        check_outputs(Candidate(SPEC, broken), "train", split(8, 0))


@pytest.mark.parametrize(("better", "said"), [(0, True), (4, True), (60, False)])
def test_a_teacher_that_brought_nothing_is_told(better: int, said: bool) -> None:
    alone, distilled = np.zeros(100, np.float32), np.zeros(100, np.float32)
    alone[10:30] = 1.0
    distilled[: 20 + better] = 1.0
    told = no_gain_warning(
        {"accuracy_over_control": gain_of(Classification().deciding, alone, distilled, "the student trained alone")}, "accuracy"
    )
    assert bool(told) == said
    if said:
        assert (told[0].code, told[0].subject) == ("pipeline.no_gain_over_control", "accuracy")
        assert told[0].values["samples"] == 100
        assert told[0].values["difference"] == pytest.approx(better)
        assert f"{better:+.2f} points on 100 test samples" in render(told[0])


def test_without_a_control_nothing_is_told() -> None:
    assert no_gain_warning({}, "accuracy") == ()
