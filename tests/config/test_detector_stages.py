"""Losses on logits between detectors of one and of two stages are refused before anything runs."""

from __future__ import annotations

import pytest

from compress.config.detector_stages import stages_of
from compress.config.recipe import loads
from compress.core.errors import RecipeError
from compress.models.settings import ModelSettings

RECIPE = """\
name: tiny
task: detection
data: {{source: drawn_boxes, image_size: 64, samples: 62}}
model: {{source: "{student}"}}
teacher: {{source: "{teacher}", train: {{epochs: 1}}}}
stages:
  - distill: {{epochs: 1, losses: {losses}}}
"""
TWO, ONE = "torchvision:fasterrcnn_resnet50_fpn", "detector:small"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (TWO, 2),
        ("detector:small_two_stage", 2),
        (ONE, 1),
        ("torchvision:fcos_resnet50_fpn", 1),
        ("python:net.py:build", None),
    ],
)
def test_the_number_of_stages_is_read_from_the_name(source: str, count: int | None) -> None:
    assert stages_of(ModelSettings(source=source)) == count


@pytest.mark.parametrize(("student", "teacher"), [(ONE, TWO), (TWO, ONE)])
def test_losses_on_logits_need_equal_stages(student: str, teacher: str) -> None:
    with pytest.raises(RecipeError, match="loss 'response' compares logits, but the student has logits of") as error:
        loads(RECIPE.format(student=student, teacher=teacher, losses="[task, response]"))
    assert "fgd" in str(error.value)


@pytest.mark.parametrize(
    ("student", "teacher", "losses"),
    [(TWO, TWO, "[task, response]"), (ONE, TWO, "[task, {fgd: {layers: [{student: neck8, teacher: backbone.fpn}]}}]")],
)
def test_what_fits_is_accepted(student: str, teacher: str, losses: str) -> None:
    assert loads(RECIPE.format(student=student, teacher=teacher, losses=losses)).name == "tiny"
