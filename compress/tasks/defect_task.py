"""Base of tasks that tell defective parts from good ones by a score and a threshold. Light: torch is imported when it computes.

The threshold of a network is chosen on good parts of the validation split: for its figures on the test split, and again for the
file that ships, into whose folder it is written.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import BaseModel, Field

from compress.core.errors import CompressError, DataError, nearest
from compress.core.fact import Fact
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.record import Quantity
from compress.tasks.base import Task
from compress.tasks.defect_metrics import Auroc, FalseAlarmRate, PartScores, RecallAtFpr
from compress.tasks.further_results import FurtherResults
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.operating_point import parts_needed

if TYPE_CHECKING:
    from torch import Tensor

    from compress.data.batch import Tensors

GOOD = "good"
"""Name of the class of good parts, where none is given."""
FPR = 0.05
"""Rate of false alarms, where none is given."""


class DefectOptions(FrozenModel):
    """Options of the tasks `inspection` and `anomaly`.

    Attributes:
        good: Name of the class of good parts. By default the one named `good`, else the first.
        fpr: Rate of false alarms that the threshold is chosen for.
    """

    good: str | None = None
    fpr: float = Field(default=FPR, gt=0.0, lt=1.0)


class DefectTask(Task):
    """A part is defective where its score is over a threshold; one class is that of the good parts.

    Args:
        good: Name of that class. By default the one named `good`, else the first.
        fpr: Rate of false alarms that the threshold is chosen for, above 0 and below 1.

    Attributes:
        settings: `good` and `fpr`.
        good_index: Number of the class of good parts: 0 until `for_spec` has looked it up.

    Raises:
        CompressError: A rate outside (0, 1).
    """

    settings: ClassVar[type[BaseModel]] = DefectOptions

    def __init__(self, good: str | None = None, fpr: float = FPR) -> None:
        if not 0 < fpr < 1:
            msg = gettext(
                "{name} has a rate of false alarms (fpr) of {fpr:g}; it must be above 0 and below 1, such as 0.05",
                name=self.name,
                fpr=fpr,
            )
            raise CompressError(msg)
        self.good, self.fpr = good, fpr
        self._use_class(0)

    @abstractmethod
    def defect_score(self, outputs: Tensors) -> Tensor:
        """Score of each part, (N,), higher for defective ones."""

    def own_metrics(self, recall: RecallAtFpr, alarms: FalseAlarmRate, area: Auroc) -> tuple[TaskMetric, ...]:
        """The metrics in their order; the first decides."""
        return (recall, alarms, area)

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the number of the class of good parts.

        Raises:
            DataError: There is no such class.
        """
        bound = copy.copy(self)
        bound._use_class(self._find_good(spec.classes))
        return bound

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that there are a class of good parts and one of defective parts.

        Raises:
            DataError: There are not.
        """
        self._find_good(spec.classes)

    def further_results(self, statistics: Mapping[str, Scores], classes: Sequence[str], where: str) -> FurtherResults:
        """The threshold, the recall of each of several kinds of defects with Wilson's interval, and a warning of false alarms.

        The warning is given where the whole Wilson interval of the false alarm rate is above the rate of the task.

        Args:
            statistics: Those of the deciding metric, with the threshold, are used.
            classes: Class names.
            where: What was measured on what.
        """
        from compress.core.statistics import wilson

        scores = statistics[self.metric]
        parts = PartScores.of(scores)
        detail = gettext("chosen on good parts of the validation split")
        results = {"alarm_threshold": Quantity.measured(parts.threshold, "1", detail)}
        kinds = [index for index in range(len(classes)) if index != self.good_index]
        for index in kinds if len(kinds) > 1 else ():
            own = parts.defective[parts.kinds == index]
            if len(own):
                hits = int((own > parts.threshold).sum())
                results[f"recall_{classes[index]}"] = Quantity.measured(
                    hits / len(own),
                    "fraction",
                    gettext("{where}; 95 % Wilson interval", where=where),
                    interval=wilson(hits, len(own)),
                    runs=len(own),
                )
        return FurtherResults(results, warnings=self._false_alarms(scores, where))

    def _false_alarms(self, scores: Scores, where: str) -> tuple[Fact, ...]:
        from compress.core.verdict import Check
        from compress.core.warned_check import warning_of
        from compress.tasks.metric_quantity import estimate

        info = self._alarms.info
        rate = estimate(self._alarms, scores, where)
        if rate.low is None or rate.low <= self.fpr:
            return ()
        check = Check(quantity=rate, passed=False, name=info.name, label=info.label, bound=self.fpr, unit=info.unit)
        return (warning_of("tasks.false_alarms_over_rate", info.name, check),)

    def operating_point(self, scores: Scores, classes: Sequence[str]) -> dict[str, str | float]:
        """What ships as `threshold.json`.

        Args:
            scores: Rows of the validation split, of the file that ships.
            classes: Class names.

        Raises:
            DataError: The split has no good part.
        """
        parts = PartScores.of(scores)
        point: dict[str, str | float] = {
            "threshold": self._recall.choose_threshold(scores),
            "rule": "a part is defective where its score is above the threshold",
            "good": classes[self.good_index],
            "false_alarm_rate": self.fpr,
            "good_parts": len(parts.good),
        }
        if len(parts.good) < parts_needed(self.fpr):
            needed = gettext(
                "{parts_needed} good parts or more are needed to hold this rate of false alarms",
                parts_needed=parts_needed(self.fpr),
            )
            point["warning"] = gettext("chosen on {count} good parts; {needed}", count=len(parts.good), needed=needed)
        if not np.isfinite(float(point["threshold"])):
            msg = gettext(
                "the network gives good parts scores that are not finite, so that there is no threshold; train it further"
            )
            raise DataError(msg)
        return point

    def _use_class(self, index: int) -> None:
        self.good_index = index
        self._recall = RecallAtFpr(self.defect_score, index, self.fpr)
        self._alarms = FalseAlarmRate(self.defect_score, index, self.fpr)
        area = Auroc(self.defect_score, index, self.fpr)
        # They know the class of good parts and the rate of false alarms.
        self.metrics = self.own_metrics(self._recall, self._alarms, area)  # type: ignore[misc]

    def _find_good(self, classes: Sequence[str]) -> int:
        name = self.good or (GOOD if GOOD in classes else next(iter(classes), GOOD))
        if name not in classes:
            msg = gettext(
                "{name}: no class {good!r} of good parts in the data: {hint}",
                name=self.name,
                good=name,
                hint=nearest(name, classes),
            )
            raise DataError(msg)
        if len(classes) < 2:
            msg = gettext(
                "{name} needs a class of defective parts beside {good!r}, that of good ones; the data has one class",
                name=self.name,
                good=name,
            )
            raise DataError(msg)
        return list(classes).index(name)
