"""Detections of each image, from the outputs of a detector or from padded tensors, and the agreement of two sets. Light."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from compress.data.batch import Tensors
from compress.data.detection_targets import BOXES, CLASSES, NO_OBJECT
from compress.tasks.average_precision import THRESHOLDS, iou_matrix
from compress.tasks.detection_outputs import (
    ANCHORS,
    CLASS_LOGITS,
    DETECTED_BOXES,
    DETECTED_CLASSES,
    DETECTED_SCORES,
    IMAGE_SIZE,
    LEAST_SCORE,
    MOST_DETECTIONS,
    OFFSETS,
)

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.boxes import Detections


ANCHOR_TOLERANCE = 0.01
"""Difference of two anchors in pixels that counts as rounding."""


def image_sizes(inputs: Tensors) -> Tensor:
    """Height and width of each image of a batch, int64 (N, 2), pixels."""
    import torch

    image = next(iter(inputs.values()))
    return torch.tensor(image.shape[-2:]).expand(len(image), 2)


def postprocess(outputs: Tensors, *, least_score: float = LEAST_SCORE) -> list[Detections]:
    """Detections of each image of a batch, no more than `MOST_DETECTIONS`.

    Args:
        outputs: Of a detector, on the CPU. Boxes are clipped to `image_size`, as in torchvision before suppression; without it
            they may be over the edge.
        least_score: Lower scores are no detections.
    """
    from compress.tasks.boxes import select_detections

    each = zip(outputs[CLASS_LOGITS].float(), outputs[OFFSETS].float(), outputs[ANCHORS].float(), strict=True)
    sizes = outputs[IMAGE_SIZE].tolist() if IMAGE_SIZE in outputs else [None] * len(outputs[OFFSETS])
    return [
        select_detections(z, t, anchors, least_score=least_score, size=size)
        for (z, t, anchors), size in zip(each, sizes, strict=True)
    ]


def has_equal_anchors(first: Tensors, second: Tensors) -> bool:
    """Whether two sets of outputs have the same anchors, but for rounding; those of detectors of two stages may differ."""
    one, other = first[ANCHORS], second[ANCHORS]
    return one.shape == other.shape and bool(((one - other).abs() <= ANCHOR_TOLERANCE).all())


def ranked_scores(outputs: Tensors) -> Tensor:
    """Scores of the detections of each image in descending order, (N, `MOST_DETECTIONS`), 0 where there are fewer."""
    import torch

    scores = torch.zeros(len(outputs[OFFSETS]), MOST_DETECTIONS)
    for row, detections in zip(scores, postprocess(outputs), strict=True):
        row[: len(detections.scores)] = detections.scores
    return scores


def unpad(detected: Tensors, *, least_score: float = LEAST_SCORE) -> list[Detections]:
    """Detections of each image, from tensors that are padded to one size.

    Args:
        detected: `detected_boxes`, `detected_scores`, `detected_classes`.
        least_score: Lower scores are left out.
    """
    from compress.tasks.boxes import Detections

    each = zip(detected[DETECTED_BOXES], detected[DETECTED_SCORES], detected[DETECTED_CLASSES], strict=True)
    return [
        Detections(boxes[mask], scores[mask], classes[mask])
        for boxes, scores, classes in each
        for mask in [(scores > least_score) & (classes > NO_OBJECT)]
    ]


def true_objects(targets: Tensors) -> Iterator[tuple[Tensor, Tensor]]:
    """True boxes, (M, 4), and classes, (M,), of each image, without the padding."""
    for boxes, classes in zip(targets[BOXES], targets[CLASSES], strict=True):
        yield boxes[classes >= 0], classes[classes >= 0]


def detection_agreement(first: Detections, second: Detections) -> float:
    """Fraction of the detections of two networks in one image that both have.

    2 · matched / (detections of a + of b), matched at an IoU of at least 0.5 with the same class; 1 where neither has one.
    """
    count = len(first.scores) + len(second.scores)
    if count == 0:
        return 1.0
    iou = iou_matrix(first.boxes.numpy(), second.boxes.numpy())
    same = first.classes.numpy()[:, None] == second.classes.numpy()[None, :]
    iou = np.where(same, iou, 0.0)
    matched = 0
    while iou.size and iou.max() >= THRESHOLDS[0]:
        row, column = np.unravel_index(iou.argmax(), iou.shape)
        iou[row, :] = iou[:, column] = 0.0
        matched += 1
    return 2 * matched / count
