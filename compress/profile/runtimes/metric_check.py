"""Whether a file in a runtime keeps the metric of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compress.backends.run_split import run_split
from compress.core.errors import CompressError
from compress.core.language import gettext, message_of
from compress.core.record import Quantity
from compress.data.batch import Split
from compress.tasks.base import Task

Score = Callable[[Path, str], Quantity]
"""The deciding metric of a file in a runtime."""
MOST_LOSS = 0.01
"""Largest loss of the metric, in its unit, by another runtime or number format."""


@dataclass(frozen=True)
class MetricCheck:
    """The deciding metric and how much of it may be lost.

    Attributes:
        score: Computes it.
        higher_is_better: Its direction.
        most_loss: Largest allowed loss, in its unit.
    """

    score: Score
    higher_is_better: bool = True
    most_loss: float = MOST_LOSS

    def keeps(self, reference: Quantity, other: Quantity) -> bool:
        """Whether the other value loses at most `most_loss`; a value that was not measured keeps nothing."""
        if reference.value is None or other.value is None:
            return False
        loss = reference.value - other.value
        return (loss if self.higher_is_better else -loss) <= self.most_loss


def metric_check(task: Task, split: Split, where: str, most_loss: float = MOST_LOSS) -> MetricCheck:
    """The check of a task's deciding metric.

    Args:
        task: Task with the metric.
        split: Samples.
        where: Name of the split, for people.
        most_loss: Largest allowed loss, in the unit of the metric.
    """
    info = task.deciding.info

    def score(path: Path, runtime: str) -> Quantity:
        try:
            scores = run_split(path, split, task, runtime=runtime)
        except CompressError as error:
            return Quantity.missing(info.unit, message_of(error))
        detail = gettext("{label} on the {split} split", label=info.name, split=where)
        return Quantity.measured(scores.metric, info.unit, detail, runs=len(scores.scores))

    return MetricCheck(score, info.higher_is_better, most_loss)
