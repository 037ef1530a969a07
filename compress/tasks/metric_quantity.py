"""Quantities of a metric from the statistics of each sample: its value, and differences of two networks on the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from compress.core.bootstrap import LEAST_SAMPLES, TAIL
from compress.core.errors import DataError
from compress.core.language import gettext, joined
from compress.core.record import Quantity
from compress.core.statistics import paired_difference, wilson
from compress.tasks.metric import MetricOfParts, ResampledMetric, Scores, TaskMetric, ThresholdMetric, ValuedMetric

RESAMPLES = 1000
"""Number of resamples of a bootstrap interval."""
SPLITS: Mapping[str, str] = {"test": "test", "validation": "validation"}
"""Words of the splits."""
ROUNDING = 1e-5
"""How far rounding may move a score of 0 or 1."""


def estimate(metric: ValuedMetric, scores: Scores, where: str, *, bootstrap: bool = True) -> Quantity:
    """A metric with its 95 % interval: Wilson's for a mean of scores or a fraction of samples, else the percentile bootstrap.

    Fewer than `LEAST_SAMPLES` samples have no bootstrap interval.

    Args:
        metric: The metric.
        scores: Its statistics of N samples.
        where: Network and split of the measurement.
        bootstrap: Whether to compute a bootstrap interval, with `RESAMPLES` evaluations of the metric.

    Raises:
        DataError: The metric is a mean, and a score is outside [0, 1].
    """
    check_scores(metric, scores)
    unit, count = metric.info.unit, len(scores)
    value = metric.value(scores)
    if not np.isfinite(value):
        return Quantity.missing(unit, no_value(metric, scores, where))
    counts = metric.counts(scores) if isinstance(metric, ThresholdMetric) else None
    if metric.is_mean:
        counts = min(max(round(float(scores.sum())), 0), count), count
    if counts is not None:
        interval = wilson(*counts)
        return Quantity.measured(
            value,
            unit,
            gettext("{where}; 95 % Wilson interval", where=where),
            interval=interval,
            runs=counts[1],
            method="wilson",
        )
    if not bootstrap or count < LEAST_SAMPLES:
        return Quantity.measured(value, unit, gettext("{where}; {reason}", where=where, reason=_no_interval(count)), runs=count)
    drawn = _values_of_draws(metric, scores)
    detail = gettext("{where}; 95 % bootstrap interval", where=where)
    return Quantity.measured(value, unit, detail, interval=_interval(value, drawn), runs=count, method="bootstrap")


def loss_of(metric: ValuedMetric, reference: Scores, scores: Scores, against: str, split: str = "test") -> Quantity:
    """Loss of the metric against a reference on the same samples; a positive value is a loss, for any direction of the metric.

    Args:
        metric: The metric.
        reference: Statistics of the reference, of N samples.
        scores: Statistics of the network, of the same samples.
        against: Name of the reference.
        split: Split of the samples.
    """
    first, second = (reference, scores) if metric.info.higher_is_better else (scores, reference)
    return _difference(
        metric,
        first,
        second,
        gettext(
            "against {against}, same {count} {split} samples", against=against, count=len(scores), split=gettext(SPLITS[split])
        ),
    )


def gain_of(metric: ValuedMetric, reference: Scores, scores: Scores, against: str) -> Quantity:
    """Gain of the metric over a reference on the same samples; a positive value is a gain."""
    return loss_of(metric, scores, reference, against)


def least_gain(metric: TaskMetric, reference: Scores, scores: Scores, against: str) -> tuple[Scores, Quantity]:
    """Gain over a reference, of a metric of several parts that of the part with the lowest end of the interval.

    A part whose statistics are the same for all samples in both is left out: an output that does not depend on the input in the
    original network, such as anchor boxes, gains nothing.

    Args:
        metric: The metric.
        reference: Statistics of the reference, of N samples.
        scores: Statistics of the network, of the same samples.
        against: Name of the reference.

    Returns:
        Statistics of the reference and the gain, both of this part.
    """
    if not isinstance(metric, MetricOfParts):
        return reference, gain_of(metric, reference, scores, against)
    references, gains = metric.parts(reference), []
    for name, part in metric.parts(scores).items():
        if max(np.ptp(part, axis=0).max(), np.ptp(references[name], axis=0).max()) > ROUNDING:
            gains.append((references[name], gain_of(metric, references[name], part, joined((against, name), ", "))))
    if not gains:
        return reference, gain_of(metric, reference, scores, against)

    def lowest(gain: Quantity) -> float:
        low = gain.value if gain.low is None else gain.low
        return float("-inf") if low is None else low

    return min(gains, key=lambda pair: lowest(pair[1]))


def _difference(metric: ValuedMetric, first: Scores, second: Scores, detail: str) -> Quantity:
    """Value of `first` minus that of `second`."""
    for scores in (first, second):
        check_scores(metric, scores)
    where, count = gettext("{detail}, paired 95 % interval", detail=detail), len(first)
    value = metric.value(first) - metric.value(second)
    if not np.isfinite(value):
        return Quantity.missing(metric.info.unit, no_value(metric, first, detail))
    if metric.is_mean:
        mean, low, high = paired_difference(first, second)
        return Quantity.measured(mean, metric.info.unit, where, interval=(low, high), runs=count, method="paired")
    if count < LEAST_SAMPLES:
        return Quantity.measured(value, metric.info.unit, joined((detail, _no_interval(count))), runs=count)
    drawn = [a - b for a, b in zip(*(_values_of_draws(metric, scores) for scores in (first, second)), strict=True)]
    where, interval = gettext("{detail}, paired 95 % bootstrap interval", detail=detail), _interval(value, drawn)
    return Quantity.measured(value, metric.info.unit, where, interval=interval, runs=count, method="bootstrap")


def _no_interval(count: int) -> str:
    if count < LEAST_SAMPLES:
        return gettext("without an interval, which takes at least {least} samples", least=LEAST_SAMPLES)
    return gettext("without an interval")


def _values_of_draws(metric: ValuedMetric, scores: Scores) -> list[float]:
    """The metric of each draw, the same draws for all scores of as many samples."""
    count = len(scores)
    if isinstance(metric, ResampledMetric):
        value = metric.resampled(scores)
        return [value(np.bincount(rows, minlength=count)) for rows in drawn_rows(count)]
    return [metric.value(scores[rows]) for rows in drawn_rows(count)]


def check_scores(metric: ValuedMetric, scores: Scores) -> None:
    """Check that the scores of a mean are in [0, 1], up to rounding, which its intervals rest on.

    Raises:
        DataError: A score is outside.
    """
    if not metric.is_mean or not len(scores):
        return
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    if low < -ROUNDING or high > 1 + ROUNDING:
        msg = gettext(
            "the metric {name} has is_mean, which is for scores in [0, 1], and its scores are from {low:.4g} to {high:.4g}; "
            "set is_mean = False, for an interval by bootstrap, or scale the scores to [0, 1]",
            name=metric.info.name,
            low=low,
            high=high,
        )
        raise DataError(msg)


def no_value(metric: ValuedMetric, scores: Scores, where: str) -> str:
    """Why a metric has no value on some samples."""
    return gettext(
        "{where}: the {label} of these {count} samples is not a number, because none of them has what it "
        "counts, such as a class or a box, or because an output is not finite",
        where=where,
        label=gettext(metric.info.label),
        count=len(scores),
    )


def drawn_rows(count: int) -> Iterator[np.ndarray]:
    """`RESAMPLES` draws of `count` samples with replacement, the same ones in each call, int64 (count,)."""
    generator = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        yield generator.integers(0, count, count)


def _interval(value: float, drawn: list[float]) -> tuple[float, float]:
    finite = [draw for draw in drawn if np.isfinite(draw)] or [value]
    low, high = np.quantile(finite, (TAIL, 1 - TAIL))
    return min(value, float(low)), max(value, float(high))
