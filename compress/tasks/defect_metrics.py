"""Metrics of tasks that tell defective parts from good ones: recall at a fixed rate of false alarms, false alarms, AUROC.

A row of statistics is of one part: score, class, whether it is good, and the threshold that its score is held against. The
threshold is chosen on good parts of the validation split and written into the rows of the test split. Rows without one (NaN)
are held against the threshold of their own good parts, so that a split can be judged alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compress.core.errors import DataError
from compress.core.format_quantity import format_value
from compress.core.language import gettext
from compress.core.record import Metric
from compress.data.batch import TARGET, Tensors
from compress.tasks.metric import Scores
from compress.tasks.operating_point import Floats, auroc, threshold_for_new, threshold_on

if TYPE_CHECKING:
    from torch import Tensor

ScoreParts = Callable[[Tensors], "Tensor"]
"""Outputs of a network → score of each part, (N,), higher for defective ones."""


class PartScores(NamedTuple):
    """Rows of statistics, taken apart; parts of unknown class are left out.

    Attributes:
        good: Scores of the good parts. One that is not finite is +∞, which is a false alarm.
        defective: Scores of the defective parts. One that is not finite is −∞, which is a missed defect.
        kinds: Class numbers of the defective parts.
        threshold: NaN where none is in the rows.
    """

    good: Floats
    defective: Floats
    kinds: Floats
    threshold: float

    @classmethod
    def of(cls, rows: Scores) -> PartScores:
        """From rows (N, 4)."""
        score, kind, is_good, threshold = rows.astype(np.float64).T
        finite = np.isfinite(score)
        good, defective = (is_good == 1) & (kind >= 0), (is_good == 0) & (kind >= 0)
        return cls(
            np.where(finite, score, np.inf)[good],
            np.where(finite, score, -np.inf)[defective],
            kind[defective],
            float(threshold[0]) if len(threshold) else float("nan"),
        )

    def threshold_at(self, fpr: float) -> float:
        """The threshold in the rows, else that of their own good parts; NaN where there are none."""
        if not np.isnan(self.threshold):
            return self.threshold
        return threshold_on(self.good, fpr) if len(self.good) else float("nan")


class DefectMetric:
    """Base of the metrics.

    Args:
        info: Its description.
        score: Gives the score of each part.
        good: Class number of good parts.
        fpr: Rate of false alarms that thresholds are chosen for.
    """

    is_mean: bool = False

    def __init__(self, info: Metric, score: ScoreParts, good: int, fpr: float) -> None:
        self.info, self.score, self.good, self.fpr = info, score, good, fpr

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Score, class, whether it is good, and no threshold, of each part; float32 (N, 4)."""
        import torch

        score, kind = self.score(outputs).float(), targets[TARGET]
        return torch.stack([score, kind.float(), (kind == self.good).float(), torch.full_like(score, torch.nan)], dim=1)

    def choose_threshold(self, scores: Scores) -> float:
        """The threshold for new parts, see `threshold_for_new`.

        Args:
            scores: Rows of the validation split.

        Raises:
            DataError: It has no good part.
        """
        good = PartScores.of(scores).good
        if not len(good):
            msg = gettext(
                "the validation split has no good part to choose the threshold on; give it some, or name their class as `good`"
            )
            raise DataError(msg)
        return threshold_for_new(good, self.fpr)

    def with_threshold(self, scores: Scores, threshold: float) -> Scores:
        """The rows with a threshold."""
        rows = scores.copy()
        rows[:, 3] = threshold
        return rows

    def counts(self, scores: Scores) -> tuple[int, int] | None:  # noqa: ARG002
        """Parts that the value is the fraction of: how many, out of how many; None where it is no such fraction."""
        return None


class FractionOverThreshold(DefectMetric, ABC):
    """Base of the fraction of some parts whose score is above the threshold."""

    @abstractmethod
    def select(self, parts: PartScores) -> Floats:
        """Scores of the parts that the fraction is of."""

    def value(self, scores: Scores) -> float:
        """The fraction; NaN without such parts, or without a threshold and good parts."""
        parts = PartScores.of(scores)
        chosen, threshold = self.select(parts), parts.threshold_at(self.fpr)
        return float((chosen > threshold).mean()) if len(chosen) and not np.isnan(threshold) else float("nan")

    def counts(self, scores: Scores) -> tuple[int, int] | None:
        """Parts above the threshold, and all; None without a threshold from elsewhere, which is uncertain itself."""
        parts = PartScores.of(scores)
        chosen = self.select(parts)
        if np.isnan(parts.threshold) or not len(chosen):
            return None
        return int((chosen > parts.threshold).sum()), len(chosen)


class RecallAtFpr(FractionOverThreshold):
    """Fraction of the defective parts whose score is above the threshold.

    Args:
        score: Gives the score of each part.
        good: Class number of good parts.
        fpr: Rate of false alarms that the threshold is chosen for.
    """

    def __init__(self, score: ScoreParts, good: int, fpr: float) -> None:
        label = gettext("recall at {rate} false alarms", rate=format_value(fpr, "fraction", exact=True))
        info = Metric(name="recall_at_fpr", label=label, unit="fraction", higher_is_better=True)
        super().__init__(info, score, good, fpr)

    def select(self, parts: PartScores) -> Floats:
        """Those of the defective parts."""
        return parts.defective


class FalseAlarmRate(FractionOverThreshold):
    """Fraction of the good parts whose score is above the threshold; arguments as of `RecallAtFpr`."""

    def __init__(self, score: ScoreParts, good: int, fpr: float) -> None:
        info = Metric(name="false_alarm_rate", label=gettext("false alarm rate"), unit="fraction", higher_is_better=False)
        super().__init__(info, score, good, fpr)

    def select(self, parts: PartScores) -> Floats:
        """Those of the good parts."""
        return parts.good


class Auroc(DefectMetric):
    """Area under the ROC curve of defective against good parts, see `operating_point.auroc`; it needs no threshold."""

    def __init__(self, score: ScoreParts, good: int, fpr: float) -> None:
        super().__init__(Metric(name="auroc", label="AUROC", unit="fraction", higher_is_better=True), score, good, fpr)

    def value(self, scores: Scores) -> float:
        """The area; NaN without good or without defective parts."""
        parts = PartScores.of(scores)
        return auroc(parts.good, parts.defective)
