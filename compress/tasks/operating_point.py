"""The point at which a detector of defects works: a threshold on its score, the false alarms and the recall that follow.

A part is called defective where its score is above the threshold. Numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compress.tasks.metric import Scores

Floats = NDArray[np.floating]


@runtime_checkable
class HasOperatingPoint(Protocol):
    """A task whose networks ship with a threshold."""

    def operating_point(self, scores: Scores, classes: Sequence[str]) -> Mapping[str, str | float]:
        """What ships as `threshold.json`.

        Args:
            scores: Statistics of the deciding metric on the validation split, of the file that ships.
            classes: Class names.

        Raises:
            DataError: The split has nothing to choose it on.
        """


def threshold_on(good: Floats, fpr: float) -> float:
    """The lowest threshold that at most a fraction of these good parts exceed: the point of their own ROC curve.

        t = g_(k + 1),   g_(1) ≥ g_(2) ≥ … the scores,   k = ⌊fpr · n⌋

    Args:
        good: Scores of n good parts, at least one.
        fpr: Largest fraction that may exceed it, in (0, 1).
    """
    ordered = np.sort(np.asarray(good, dtype=np.float64))[::-1]
    # The tolerance keeps 0.3 · 10, which is 2.9999… in floating point, at 3.
    return float(ordered[math.floor(fpr * len(ordered) + 1e-9)])


def threshold_for_new(good: Floats, fpr: float) -> float:
    """A threshold that a fraction of new good parts exceeds, in the mean over draws of the calibration parts at most.

        t = r-th smallest score,   r = ⌈(1 − fpr)(n + 1)⌉

    This is the quantile of split conformal prediction: it allows for n being finite, as the point on the ROC curve of the same
    parts does not (Bates et al. 2023, "Testing for outliers with conformal p-values", arXiv:2104.08279). It needs
    `parts_needed(fpr)` parts; with fewer the largest score is taken, and false alarms may be more frequent.

    Args:
        good: Scores of n good parts that nothing was trained on, at least one.
        fpr: Fraction of false alarms, in (0, 1).
    """
    ordered = np.sort(np.asarray(good, dtype=np.float64))
    rank = math.ceil((1 - fpr) * (len(ordered) + 1) - 1e-9)
    return float(ordered[min(rank, len(ordered)) - 1])


def parts_needed(fpr: float) -> int:
    """The fewest good parts from which a threshold can hold a rate of false alarms: ⌈1 / fpr⌉ − 1, 19 for 5 %."""
    return math.ceil(1 / fpr - 1e-9) - 1


def auroc(good: Floats, defective: Floats) -> float:
    """Area under the ROC curve: chance that a defective part has a higher score than a good one, ties counting half.

        (Σ_d |{g < d}| + ½ |{g = d}|) / (n_good · n_defective)                                  Mann & Whitney 1947

    Args:
        good: Scores, (n,).
        defective: Scores, (m,).

    Returns:
        In [0, 1]; NaN where there are no good or no defective parts.
    """
    if not len(good) or not len(defective):
        return float("nan")
    ordered = np.sort(good)
    below, up_to = (np.searchsorted(ordered, defective, side=side).astype(np.float64) for side in ("left", "right"))
    return float((below + up_to).sum() / (2 * len(good) * len(defective)))
