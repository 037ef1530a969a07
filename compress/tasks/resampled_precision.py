"""Mean average precision of draws of images with replacement, as a bootstrap needs them a thousand times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.tasks.average_precision import RECALLS

if TYPE_CHECKING:
    from compress.tasks.metric import Scores

Counts = NDArray[np.int64]


class ResampledPrecision:
    """The same as `mean_average_precision` of the drawn images; the detections are sorted once, not for each draw.

    A detection of an image that is drawn w times counts w times. Of its w places in the sorted list only the last one matters:
    with h right of n detections before it, (h + w) / (n + w) is the largest precision there.

    Args:
        statistics: Of N images: scores, classes and hits of `most` detections each, hits as a sum of 2^t over the thresholds t
            at which the detection is right, then the number of true boxes of each class, (N, 3 · most + K).
        most: Detections of each image; those of score 0 are none.
        thresholds: T.
    """

    def __init__(self, statistics: Scores, most: int, thresholds: int) -> None:
        score, number_of, hits = (statistics[:, part * most : (part + 1) * most].ravel() for part in range(3))
        self._positives = statistics[:, 3 * most :].astype(np.int64)
        order = np.argsort(-score, kind="stable")
        order = order[score[order] > 0]
        images, classes, bits = order // most, number_of[order].astype(np.int64), hits[order].astype(np.int64)
        self._of_class: list[tuple[Counts, list[Counts]]] = []
        for number in range(self._positives.shape[1]):
            own = classes == number
            right = [np.flatnonzero(bits[own] >> threshold & 1) for threshold in range(thresholds)]
            self._of_class.append((images[own], right))

    def value(self, counts: Counts) -> float:
        """The mean average precision; NaN where the drawn images have no true box.

        Args:
            counts: How often each image is drawn, (N,).
        """
        values = []
        for positives, (images, right) in zip(counts @ self._positives, self._of_class, strict=True):
            if positives:
                drawn = counts[images]
                places = drawn.cumsum()
                values += [_area(drawn[index].cumsum(), places[index], int(positives)) for index in right]
        return float(np.mean(values)) if values else float("nan")


def _area(hits: Counts, places: Counts, positives: int) -> float:
    """Area under the interpolated precision, from the numbers of right detections and of all up to each right one."""
    if not len(hits):
        return 0.0
    highest = np.maximum.accumulate((hits / np.maximum(places, 1))[::-1])[::-1]
    index = np.searchsorted(hits / positives, RECALLS)
    return float(highest[index[index < len(hits)]].sum() / len(RECALLS))
