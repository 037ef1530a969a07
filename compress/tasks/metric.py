"""Metrics of a task, computed from statistics of each sample, so that intervals and paired differences can be computed, too.

A metric has a row of statistics for each sample, and a value for any set of rows. Accuracy has one column, the score 0 or 1;
a ratio of sums has two, numerator and denominator; a mean intersection over union has three for each class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compress.core.record import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from compress.data.batch import Tensors

Scores = NDArray[np.float32] | NDArray[np.float64]
"""Statistics of N samples, (N,) for a mean of scores, else (N, S)."""


class ValuedMetric(Protocol):
    """A metric as the value of statistics of samples, wherever these are from.

    Attributes:
        info: Name, label, unit and direction.
        is_mean: Whether its value is the mean of one score in [0, 1] per sample, (N,).
    """

    @property
    def info(self) -> Metric: ...  # noqa: D102
    @property
    def is_mean(self) -> bool: ...  # noqa: D102

    def value(self, scores: Scores) -> float:
        """The metric of the samples of these statistics."""


class TaskMetric(ValuedMetric, Protocol):
    """A metric of a task, whose statistics are from outputs of a network."""

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Statistics of each sample of a batch, (N,) for a mean of scores, else (N, S)."""


@runtime_checkable
class ResampledMetric(Protocol):
    """A metric that gives its value of many draws of the same samples faster than one by one."""

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """A function of how often each of the N samples is drawn, (N,)."""


@runtime_checkable
class ThresholdMetric(TaskMetric, Protocol):
    """A metric that depends on a threshold, which is chosen on the validation split before the test split is judged."""

    def choose_threshold(self, scores: Scores) -> float:
        """The threshold for new samples, from the statistics of the validation split.

        Raises:
            DataError: The split has no sample to choose it on.
        """

    def with_threshold(self, scores: Scores, threshold: float) -> Scores:
        """Statistics that are held against this threshold."""

    def counts(self, scores: Scores) -> tuple[int, int] | None:
        """Samples that the value is the fraction of: how many, out of how many; None where it is no such fraction."""


@runtime_checkable
class MetricOfParts(TaskMetric, Protocol):
    """A metric that is the value of the worst of several parts, such as outputs, each of which is judged by itself."""

    def parts(self, scores: Scores) -> dict[str, Scores]:
        """Statistics of each part by name, each of which `value` takes."""


class MeanOfScores:
    """Base class of metrics that are the mean of a score in [0, 1] of each sample.

    Attributes:
        info: Name, label, unit and direction.
    """

    is_mean: bool = True

    def __init__(self, info: Metric) -> None:
        self.info = info

    def value(self, scores: Scores) -> float:
        """The mean."""
        return float(scores.mean())


class RatioOfSums:
    """Base class of metrics Σ numerator / Σ denominator over the samples, such as a word error rate.

    Attributes:
        info: Name, label, unit and direction.
    """

    is_mean: bool = False

    def __init__(self, info: Metric) -> None:
        self.info = info

    def value(self, scores: Scores) -> float:
        """Σ scores[:, 0] / Σ scores[:, 1]."""
        numerator, denominator = scores.sum(axis=0, dtype=np.float64)
        return float(numerator / denominator) if denominator else float("nan")
