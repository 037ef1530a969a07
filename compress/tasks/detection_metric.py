"""Mean average precision as a metric of a task: statistics of each image, and the value for any set of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.core.record import Metric
from compress.data.batch import Tensors
from compress.tasks.average_precision import THRESHOLDS, average_precision, match_detections, mean_average_precision
from compress.tasks.class_results import ClassValues
from compress.tasks.detection_outputs import CLASS_LOGITS, MOST_DETECTIONS
from compress.tasks.detections import postprocess, true_objects
from compress.tasks.metric import Scores
from compress.tasks.resampled_precision import ResampledPrecision

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.boxes import Detections


class AveragePrecision:
    """Mean average precision over the classes; see `compress.tasks.average_precision`.

    Args:
        name: `map50` at an IoU of 0.5, `map50_95` averaged over 0.5, 0.55, …, 0.95.

    Attributes:
        info: Its description.
        is_mean: No; intervals are bootstrapped over images.
    """

    is_mean: bool = False

    def __init__(self, name: str) -> None:
        label = {"map50": "mAP50", "map50_95": "mAP50-95"}[name]
        self.info = Metric(name=name, label=label, unit="fraction", higher_is_better=True)
        self.thresholds = THRESHOLDS[:1] if name == "map50" else THRESHOLDS

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """For each image score, class and hits of up to 100 detections, and the number of true boxes of each class.

        Hits are a sum of 2^t over the thresholds t at which the detection is right.

        Returns:
            float32 (N, 300 + K).
        """
        return self.of_thresholds(detection_statistics(postprocess(outputs), targets, outputs[CLASS_LOGITS].shape[2]))

    def of_thresholds(self, statistics: Tensor) -> Tensor:
        """Statistics for this metric's thresholds out of those for all of them, see `detection_statistics`."""
        rows = statistics.clone()
        hits = slice(2 * MOST_DETECTIONS, 3 * MOST_DETECTIONS)
        rows[:, hits] = statistics[:, hits] % 2 ** len(self.thresholds)
        return rows

    def value(self, scores: Scores) -> float:
        """The mean average precision of these images; NaN where they have no true box."""
        detections = scores[:, : 3 * MOST_DETECTIONS].reshape(-1, 3, MOST_DETECTIONS)
        score, classes, hits = (detections[:, part].ravel() for part in range(3))
        mask = score > 0
        right = (hits[mask].astype(np.int64)[:, None] >> np.arange(len(self.thresholds)) & 1).astype(bool)
        positives = scores[:, 3 * MOST_DETECTIONS :].sum(axis=0, dtype=np.float64).astype(np.int64)
        return mean_average_precision(score[mask], classes[mask].astype(np.int64), right, positives)

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The value of draws of these images, see `ResampledPrecision`."""
        return ResampledPrecision(scores, MOST_DETECTIONS, len(self.thresholds)).value


def class_precisions(scores: Scores) -> ClassValues:
    """The average precision of each class, its boxes that are recognised, and the images that have it.

    Args:
        scores: Statistics of `AveragePrecision` at one threshold, (N, 300 + K).
    """
    counts = scores[:, 3 * MOST_DETECTIONS :]
    detections = scores[:, : 3 * MOST_DETECTIONS].reshape(-1, 3, MOST_DETECTIONS)
    score, number, hits = (detections[:, part].ravel() for part in range(3))
    values, right = np.full(counts.shape[1], np.nan), np.zeros(counts.shape[1])
    for index, positives in enumerate(counts.sum(axis=0, dtype=np.float64).astype(int)):
        own = (score > 0) & (number == index)
        right[index] = np.count_nonzero(hits[own])
        if positives:
            values[index] = average_precision(score[own], hits[own] > 0, int(positives))
    return ClassValues(values, right, (counts > 0).sum(axis=0))


def detection_statistics(detected: Sequence[Detections], targets: Tensors, classes: int) -> Tensor:
    """Statistics of detections at all thresholds, float32 (N, 300 + K); see `AveragePrecision.scores`.

    Args:
        detected: Detections of each image.
        targets: `boxes` and `classes`.
        classes: K.
    """
    import torch

    rows = []
    for detections, (boxes, labels) in zip(detected, true_objects(targets), strict=True):
        predicted = detections.classes.numpy()
        right = match_detections(detections.boxes.numpy(), predicted, boxes.numpy(), labels.numpy(), THRESHOLDS)
        row = np.zeros((3, MOST_DETECTIONS), np.float32)
        row[0, : len(right)] = detections.scores.numpy()
        row[1, : len(right)] = predicted
        row[2, : len(right)] = right @ 2 ** np.arange(len(THRESHOLDS))
        counts = np.bincount(labels.numpy(), minlength=classes)[:classes]
        rows.append(np.concatenate([row.ravel(), counts]).astype(np.float32))
    return torch.from_numpy(np.stack(rows))
