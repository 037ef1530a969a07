"""Detections from outputs and from padded tensors, and the agreement of two sets."""

from __future__ import annotations

import pytest
import torch

from compress.tasks.boxes import Detections
from compress.tasks.detection_outputs import DETECTED_BOXES, DETECTED_CLASSES, DETECTED_SCORES, IMAGE_SIZE
from compress.tasks.detections import detection_agreement, image_sizes, postprocess, unpad
from tests.tasks.detection_scenes import HEIGHT, WIDTH, random_outputs, scene_outputs


def test_boxes_are_clipped_before_suppression() -> None:
    """Two boxes of one class overlap by less than the limit as decoded, and are equal within the image."""
    outputs = {
        "class_logits": torch.tensor([[[2.0], [1.0]]]),
        "boxes": torch.zeros(1, 2, 4),
        "anchors": torch.tensor([[[-30.0, -30, 10, 10], [0, 0, 10, 10]]]),
    }
    assert len(postprocess(outputs)[0].scores) == 2
    clipped = postprocess(outputs | {IMAGE_SIZE: torch.tensor([[20, 20]])})[0]
    assert clipped.boxes.tolist() == [[0.0, 0.0, 10.0, 10.0]]


def test_sizes_are_those_of_the_images() -> None:
    assert image_sizes({"input": torch.zeros(2, 3, HEIGHT, WIDTH)}).tolist() == [[HEIGHT, WIDTH]] * 2


def test_padding_is_left_out() -> None:
    padded = {
        DETECTED_BOXES: torch.arange(24.0).reshape(2, 3, 4),
        DETECTED_SCORES: torch.tensor([[0.9, 0.2, 0.0], [0.0, 0.0, 0.0]]),
        DETECTED_CLASSES: torch.tensor([[1, 0, -1], [-1, -1, -1]]),
    }
    first, second = unpad(padded)
    assert first.classes.tolist() == [1, 0]
    assert first.boxes[1].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert len(second.scores) == 0
    assert unpad(padded, least_score=0.5)[0].classes.tolist() == [1]


def test_agreement_counts_detections_that_both_have() -> None:
    box = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    both = Detections(box, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))
    other = Detections(box, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]))
    nothing = Detections(box[:0], torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert detection_agreement(both, both) == 1.0
    assert detection_agreement(both, other) == pytest.approx(0.5)
    assert detection_agreement(both, nothing) == 0.0
    assert detection_agreement(nothing, nothing) == 1.0


def test_scenes_give_their_objects() -> None:
    assert [len(each.scores) for each in postprocess(scene_outputs())] == [2, 0, 1]
    assert all(len(each.scores) == 100 for each in postprocess(random_outputs()))
