"""Average precision against torchmetrics, which calls pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.tasks.average_precision import (
    RECALLS,
    THRESHOLDS,
    average_precision,
    iou_matrix,
    match_detections,
    mean_average_precision,
)


def _boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    corners = generator.uniform(0, 60, (count, 2))
    return np.concatenate([corners, corners + generator.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)


def test_it_equals_torchmetrics_on_random_detections() -> None:
    pytest.importorskip("pycocotools")
    from torchmetrics.detection import MeanAveragePrecision

    generator = np.random.default_rng(0)
    # torchmetrics rounds its recalls to float32, which moves the value where a recall is met exactly.
    reference = MeanAveragePrecision(rec_thresholds=RECALLS.tolist(), iou_thresholds=list(THRESHOLDS))
    rows = []
    positives = np.zeros(4, dtype=int)
    for _ in range(24):
        true_boxes, true_classes = _boxes(generator, generator.integers(0, 6)), generator.integers(0, 3, 6)
        true_classes = true_classes[: len(true_boxes)]
        jittered = true_boxes + generator.normal(0, 3, true_boxes.shape).astype(np.float32)
        boxes = np.concatenate([jittered, _boxes(generator, 4)])
        classes = np.concatenate([true_classes, generator.integers(0, 3, 4)])
        scores = np.sort(generator.uniform(0.1, 1, len(boxes)).astype(np.float32))[::-1].copy()
        order = generator.permutation(len(boxes))
        boxes, classes = boxes[order], classes[order]
        reference.update(
            [{"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": torch.tensor(classes)}],
            [{"boxes": torch.tensor(true_boxes), "labels": torch.tensor(true_classes)}],
        )
        rows.append((scores, classes, match_detections(boxes, classes, true_boxes, true_classes)))
        positives += np.bincount(true_classes, minlength=4)
    scores, classes, right = (np.concatenate([row[part] for row in rows]) for part in range(3))
    expected = reference.compute()
    assert mean_average_precision(scores, classes, right, positives) == pytest.approx(float(expected["map"]), abs=1e-6)
    own = mean_average_precision(scores, classes, right[:, :1], positives)
    assert own == pytest.approx(float(expected["map_50"]), abs=1e-6)


def test_a_true_box_is_taken_once() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    right = match_detections(boxes, np.zeros(2, int), boxes[:1], np.zeros(1, int))
    assert right[0].all()
    assert not right[1].any()
    assert not match_detections(boxes, np.ones(2, int), boxes[:1], np.zeros(1, int)).any(), "of another class"


def test_ap_by_hand() -> None:
    """Right, wrong, right of 2: precision 1 up to a recall of 0.5, then 2/3: (51 · 1 + 50 · 2/3) / 101."""
    value = average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    assert value == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_iou_of_known_boxes() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 20]])
    assert np.allclose(iou_matrix(boxes, boxes), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])


def test_without_true_boxes_there_is_no_value() -> None:
    empty = np.zeros(0)
    assert np.isnan(mean_average_precision(empty, empty.astype(int), np.zeros((0, len(THRESHOLDS)), bool), np.zeros(3, int)))
