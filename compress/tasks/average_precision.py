"""Average precision of detections, computed from statistics of each image, so that a bootstrap over images is fast.

Matching of detections with true boxes is done once for each image (`match_detections`); for any set
of images only the detections are sorted by score (`mean_average_precision`). The result is that of pycocotools for annotations
without crowds: in descending order of score, each detection is assigned the free true box of its class with the largest IoU, if
that is at least the threshold; precision is interpolated at 101 recalls (Lin et al. 2014, Microsoft COCO, arXiv:1405.0312).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
THRESHOLDS = tuple(round(0.5 + 0.05 * index, 2) for index in range(10))
"""IoU thresholds of the COCO metric: 0.5, 0.55, …, 0.95."""
RECALLS = np.linspace(0.0, 1.0, 101)


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of all pairs of boxes, (D, M).

    Args:
        first: (D, 4), corners.
        second: (M, 4), corners.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - overlap
    ratio: Floats = overlap / np.where(union > 0, union, 1)
    return ratio


def match_detections(
    boxes: Floats, classes: Integers, true_boxes: Floats, true_classes: Integers, thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.bool_]:
    """Whether each detection of an image is correct, at each threshold; bool (D, T).

    Args:
        boxes: (D, 4), in descending order of score.
        classes: (D,).
        true_boxes: (M, 4).
        true_classes: (M,).
        thresholds: T thresholds of the IoU.
    """
    right = np.zeros((len(boxes), len(thresholds)), dtype=bool)
    if not len(boxes) or not len(true_boxes):
        return right
    iou = np.where(classes[:, None] == true_classes[None, :], iou_matrix(boxes, true_boxes), -1.0)
    for column, threshold in enumerate(thresholds):
        free = np.ones(len(true_boxes), dtype=bool)
        for row in np.flatnonzero(iou.max(axis=1) >= threshold):
            candidates = np.where(free, iou[row], -1.0)
            best = int(candidates.argmax())
            if candidates[best] >= threshold:
                free[best], right[row, column] = False, True
    return right


def average_precision(scores: Floats, right: NDArray[np.bool_], positives: int) -> float:
    """Area under precision over recall, each precision the largest at this recall or a higher one, at 101 recalls.

    Args:
        scores: Scores of the detections of one class, (D,).
        right: Whether each is correct, (D,).
        positives: Number of true boxes of this class, at least 1.
    """
    return _area(right[np.argsort(-scores, kind="stable")], positives)


def _area(right: NDArray[np.bool_], positives: int) -> float:
    """See `average_precision`, with descending scores. Only correct detections are needed, since precision is largest there."""
    places = np.flatnonzero(right)
    hits = np.arange(1, len(places) + 1)
    highest = np.maximum.accumulate((hits / (places + 1))[::-1])[::-1]
    index = np.searchsorted(hits / positives, RECALLS)
    return float(highest[index[index < len(hits)]].sum() / len(RECALLS))


def mean_average_precision(scores: Floats, classes: Integers, right: NDArray[np.bool_], positives: Integers) -> float:
    """Mean over the classes with a true box, and over the thresholds; NaN without true boxes.

    Args:
        scores: Scores of the detections of all images, (D,), image by image.
        classes: (D,).
        right: (D, T).
        positives: Number of true boxes of each class, (K,).
    """
    order = np.argsort(-scores, kind="stable")
    classes, columns = classes[order], right[order].T
    values = []
    for number in np.flatnonzero(positives):
        own = np.ascontiguousarray(columns[:, classes == number])
        values += [_area(column, int(positives[number])) for column in own]
    return float(np.mean(values)) if values else float("nan")
