"""The numpy code of `infer.py` against the task's post-processing in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.tasks.boxes import decode_boxes as decode_in_torch
from compress.tasks.detection_outputs import ANCHORS, CLASS_LOGITS, OFFSETS
from compress.tasks.detections import postprocess
from compress.tasks.numpy_detections import decode_boxes, select_detections, suppress_boxes
from tests.tasks.detection_scenes import HEIGHT, WIDTH, outputs_of_classes, random_outputs, scene_outputs


@pytest.mark.parametrize(
    "outputs", [random_outputs(), scene_outputs(), outputs_of_classes()], ids=["random", "drawn", "classes"]
)
@pytest.mark.parametrize("least_score", [0.01, 0.3])
def test_detections_are_those_of_the_task_in_the_same_order(outputs: dict[str, torch.Tensor], least_score: float) -> None:
    for index, expected in enumerate(postprocess(outputs, least_score=least_score)):
        arrays = tuple(outputs[name][index].numpy() for name in (CLASS_LOGITS, OFFSETS, ANCHORS))
        boxes, scores, classes = select_detections(arrays, (WIDTH, HEIGHT), least_score, 0.5, 100)  # type: ignore[arg-type]
        assert classes.tolist() == expected.classes.tolist()
        assert np.allclose(scores, expected.scores.numpy(), atol=1e-5)
        assert np.allclose(boxes, expected.boxes.numpy(), atol=1e-4)


def test_decoded_boxes_are_those_of_torch_within_the_image() -> None:
    outputs = random_outputs(1)
    offsets, anchors = outputs[OFFSETS][0], outputs[ANCHORS][0]
    expected = decode_in_torch(offsets, anchors).clamp(min=0).minimum(torch.tensor([64.0, 48, 64, 48])).numpy()
    assert np.allclose(decode_boxes(offsets.numpy(), anchors.numpy(), WIDTH, HEIGHT), expected, atol=1e-4)


def test_suppression_is_within_a_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [30, 30, 40, 40]], dtype=np.float32)
    assert suppress_boxes(boxes, np.array([0, 0, 1, 0]), 0.5).tolist() == [0, 2, 3]
    assert suppress_boxes(boxes, np.array([0, 0, 1, 0]), 0.9).tolist() == [0, 1, 2, 3]
    assert suppress_boxes(boxes[:0], np.zeros(0, int), 0.5).tolist() == []


def test_a_limit_of_zero_keeps_all_scores() -> None:
    logits = np.array([[-50.0], [3.0]], dtype=np.float32)
    anchors = np.array([[0, 0, 5, 5], [10, 10, 20, 20]], dtype=np.float32)
    _, scores, _ = select_detections((logits, np.zeros((2, 4), np.float32), anchors), (WIDTH, HEIGHT), 0.0, 0.5, 100)
    assert len(scores) == 2
