from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.core.registry import lookup
from compress.tasks.detection import Detection
from compress.tasks.overlay import Boxes, HasOverlays
from compress.tasks.segmentation import Segmentation
from tests.tasks.test_detection import TARGETS, TRUE, perfect


def test_only_tasks_with_something_to_draw_have_overlays() -> None:
    drawn = {name for name in ("classification", "regression", "segmentation", "detection") if has_overlays(name)}
    assert drawn == {"segmentation", "detection"}


def has_overlays(name: str) -> bool:
    return isinstance(lookup("task", name).load()(), HasOverlays)


def test_detections_of_a_detector_that_knows_the_answer_lie_on_the_true_boxes() -> None:
    found, true = Detection().overlays(perfect()), Detection().true_overlays(TARGETS)
    assert len(found) == len(true) == len(TRUE)
    for each, other, (corners, classes) in zip(found, true, TRUE, strict=True):
        assert isinstance(each, Boxes)
        assert isinstance(other, Boxes)
        assert np.array_equal(other.corners, corners.numpy())
        assert np.array_equal(other.classes, classes.numpy())
        assert other.scores is None
        assert each.scores is not None
        assert sorted(each.classes) == sorted(classes.tolist())
        order, expected = np.argsort(each.classes), np.argsort(classes.numpy())
        assert each.corners[order] == pytest.approx(corners.numpy()[expected], abs=1e-4)


@pytest.mark.parametrize(("score", "count"), [(-1.0, 0), (-0.8, 3)])
def test_detections_below_the_score_of_the_script_are_not_drawn(score: float, count: int) -> None:
    """σ(−1) is 0.27 and σ(−0.8) is 0.31."""
    outputs = perfect()
    outputs["class_logits"] = torch.where(outputs["class_logits"] > 0, score, -8.0)
    assert sum(len(each.corners) for each in Detection().overlays(outputs) if isinstance(each, Boxes)) == count


def test_masks_are_the_likeliest_classes_and_ignored_pixels_have_none() -> None:
    logits = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 4, (2, 5, 6), generator=torch.Generator().manual_seed(1))
    target[0, 0, 0] = 255
    masks, true = Segmentation().overlays({"logits": logits}), Segmentation().true_overlays({"target": target})
    assert np.array_equal(np.stack(masks), logits.numpy().argmax(1))  # type: ignore[arg-type]
    assert isinstance(true[0], np.ndarray)
    assert true[0][0, 0] < 0
    assert np.array_equal(true[1], target[1].numpy())
