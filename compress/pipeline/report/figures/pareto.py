"""The best compromises of the metric and the latency: all stages of a run, and the artifacts of earlier runs of its recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from compress.core.errors import StoreError
from compress.core.language import gettext, joined
from compress.core.record import Metric
from compress.core.run_directory import RECORD
from compress.core.run_record import RunRecord
from compress.core.sentences.report import word
from compress.pipeline.read_record import read_record
from compress.pipeline.report.charts.axis import axis_of
from compress.pipeline.report.charts.scatter import ChartPoint, Scatter, draw_scatter
from compress.pipeline.report.figures.figure_file import FigureFile
from compress.pipeline.report.figures.metric_axis import interval_ends, metric_axis, metric_scale
from compress.pipeline.report.figures.overview import AXIS_LABELS, MEASURES, describe, network_points
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.tables import final_metrics

MEASURE = "latency_ms"
RUNS = 20
"""Largest number of earlier runs in the picture, the latest ones."""


def pareto(record: RunRecord, run: Path) -> FigureFile | None:
    """The picture, or None where no earlier run beside this one is comparable.

    Args:
        record: The run.
        run: Its directory, beside which those of other runs of the recipe stand.
    """
    metric = deciding_metric(record)
    earlier = [point for other in earlier_runs(record, run) if (point := _point(other, metric))]
    if not earlier:
        return None
    own = network_points(record, MEASURE)
    factor = MEASURES[MEASURE][1]
    scale = metric_scale(metric)[0]
    best = best_compromises([*own, *earlier], higher_is_better=metric.higher_is_better)
    points = (*own, *earlier)
    alternative = joined(point.title for point in points)
    svg = draw_scatter(
        Scatter(
            points=own,
            x=axis_of(gettext(AXIS_LABELS["latency_ms"]), [end for point in points for end in interval_ends(point.x, factor)]),
            y=metric_axis(metric, [end for point in points for end in interval_ends(point.y, scale)], "test"),
            x_factor=factor,
            y_factor=scale,
            faint=earlier,
            front=best,
        ),
        alternative,
    )
    caption = word("pareto.caption", metric=gettext(metric.label), count=len(earlier))
    return FigureFile("pareto", "overview", caption, svg, alternative=alternative)


def earlier_runs(record: RunRecord, run: Path) -> Iterator[RunRecord]:
    """Earlier runs beside a run, the latest first: of the same metric and data on the same machine, and no smoke runs."""
    others = []
    for path in run.absolute().parent.glob(f"*/{RECORD}"):
        if path.parent == run.absolute():
            continue
        try:
            other = read_record(path)
        except StoreError:  # a damaged record is a fault of its own run
            continue
        if other.started < record.started and _is_comparable(record, other):
            others.append(other)
    yield from sorted(others, key=lambda other: other.started, reverse=True)[:RUNS]


def _is_comparable(record: RunRecord, other: RunRecord) -> bool:
    return (
        not other.smoke
        and other.name == record.name
        and other.data == record.data
        and deciding_metric(other) == deciding_metric(record)
        and other.environment.get("processor") == record.environment.get("processor")
    )


def _point(record: RunRecord, metric: Metric) -> ChartPoint | None:
    final = final_metrics(record)
    x, y = final.get(MEASURE), final.get(metric.name)
    if x is None or y is None or x.value is None or y.value is None:
        return None
    return ChartPoint("", x, y, "c3", describe(word("pareto.run", started=record.started[:16].replace("T", " ")), x, y))


def best_compromises(points: Sequence[ChartPoint], *, higher_is_better: bool) -> list[ChartPoint]:
    """Points that no other one beats in one quantity without being worse in the other, from the lowest x.

    Args:
        points: Points with values; a lower x is better.
        higher_is_better: Direction of y.
    """
    sign = -1.0 if higher_is_better else 1.0
    ordered = sorted(points, key=lambda point: (point.x.value or 0.0, sign * (point.y.value or 0.0)))
    best: list[ChartPoint] = []
    for point in ordered:
        if not best or sign * (point.y.value or 0.0) < sign * (best[-1].y.value or 0.0):
            best.append(point)
    return best
