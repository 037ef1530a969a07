"""Axis of a metric: in percent for fractions, with better values upwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from compress.core.language import gettext
from compress.core.record import Metric, Quantity
from compress.pipeline.report.charts.axis import Axis, axis_of

LABELS: Mapping[str, str] = {"test": "test {metric}", "validation": "validation {metric}", "": "{metric}"}
"""Label of an axis by the split that the metric is of."""


def metric_scale(metric: Metric) -> tuple[float, str]:
    """Factor and unit of a metric on an axis: percent for a fraction, no unit for a plain number."""
    return (100.0, "%") if metric.unit == "fraction" else (1.0, "" if metric.unit == "1" else metric.unit)


def metric_axis(metric: Metric, values: Iterable[float], split: str, *, margin: float = 0.18) -> Axis:
    """The axis of a metric; better values are up, and fractions end at 100 %, but for error rates above it.

    Args:
        metric: The metric.
        values: In display units, the ends of intervals included.
        split: `test` or `validation`; empty where both are drawn.
        margin: Share of the span at each end.
    """
    scale, unit = metric_scale(metric)
    label = gettext(LABELS[split], metric=gettext(metric.label))
    label = gettext("{quantity} ({unit})", quantity=label, unit=unit) if unit else label
    known = tuple(values)
    axis = axis_of(label, known, margin=margin, log=False, inverted=not metric.higher_is_better)
    if metric.unit == "fraction":
        axis = replace(axis, low=max(0.0, axis.low) if axis.high > 0 else axis.low)
        if not any(value > scale for value in known):
            axis = replace(axis, high=min(scale + 0.4, axis.high))
    return axis


def interval_ends(quantity: Quantity, factor: float) -> tuple[float, ...]:
    """Value and ends of the interval of a quantity, in display units."""
    return tuple(value * factor for value in (quantity.value, quantity.low, quantity.high) if value is not None)
