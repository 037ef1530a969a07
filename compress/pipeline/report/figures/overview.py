"""Pictures of the whole run: the metric against latency and size, and how much smaller and faster the artifact is."""

from __future__ import annotations

from dataclasses import replace

from compress.core.comparable_latency import stage_metrics
from compress.core.entries import mapping
from compress.core.format_quantity import format_value, format_with_provenance, quantity_label
from compress.core.language import gettext, joined
from compress.core.record import Metric, Metrics, Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.pipeline.report.charts.axis import axis_of
from compress.pipeline.report.charts.bars import BarGroup, ChartBar, draw_bars
from compress.pipeline.report.charts.scatter import ChartPoint, Scatter, draw_scatter
from compress.pipeline.report.figures.figure_file import FigureFile
from compress.pipeline.report.figures.metric_axis import interval_ends, metric_axis, metric_scale
from compress.pipeline.report.outline import deciding_metric, sentence_start
from compress.pipeline.report.tables import control_of, direction, final_metrics, reference_metrics

MEASURES = {
    "latency_ms": ("latency", 1.0),
    "size_bytes": ("size", 1e-6),
}
"""Part of the file name and factor of the quantities that the metric is drawn against."""
AXIS_LABELS = {"latency_ms": "latency on the host (ms)", "size_bytes": "size of the ONNX file (MB)"}
"""Labels of their axes."""


def network_points(record: RunRecord, measure: str) -> list[ChartPoint]:
    """Teacher, student trained alone, and every stage that changed the network; the last one is the artifact."""
    points: list[ChartPoint] = []
    metric = deciding_metric(record)

    def add(name: str, metrics: Metrics, style: str) -> None:
        x, y = metrics.get(measure), metrics.get(metric.name)
        if x is not None and y is not None and x.value is not None and y.value is not None:
            points.append(ChartPoint(name, x, y, style, describe(name, x, y)))

    if record.teacher:
        add(network_words("teacher"), reference_metrics(record)[1], "teacher")
    control = control_of(record)
    if control:
        add(gettext("student alone"), {**control[0].after, metric.name: control[1]}, "student")
    changed = changed_stages(record)
    for stage in changed[:-1]:
        add(gettext("after {stage}", stage=stage.name), stage_metrics(record, stage), "chain artifact")
    if changed:
        add(network_words("artifact"), final_metrics(record), "chain artifact")
    return points


def changed_stages(record: RunRecord) -> list[StageRecord]:
    """The first stage, and those after which the metric or the size differs."""
    names = (deciding_metric(record).name, "size_bytes")
    before = (None, *record.stages)
    return [
        stage
        for stage, previous in zip(record.stages, before, strict=False)
        if previous is None or any(stage.after.get(name) != previous.after.get(name) for name in names)
    ]


def describe(name: str, x: Quantity, y: Quantity) -> str:
    """A point in words."""
    return gettext("{name}: {y} at {x}", name=name, y=format_with_provenance(y), x=format_with_provenance(x))


def metric_against(record: RunRecord, measure: str, section: str) -> FigureFile | None:
    """The metric of all networks of the run against their latency or size, or None for fewer than two networks."""
    points = network_points(record, measure)
    if len(points) < 2:
        return None
    metric = deciding_metric(record)
    short, factor = MEASURES[measure]
    scale = metric_scale(metric)[0]
    limit = _limit(record, measure)
    x = axis_of(
        gettext(AXIS_LABELS[measure]),
        [value for point in points for value in interval_ends(point.x, factor)] + ([limit] if limit else []),
    )
    bound = _metric_bound(record, metric)
    ends = [value for point in points for value in interval_ends(point.y, scale)]
    y = metric_axis(metric, [*ends, *([bound] if bound is not None else [])], "test")
    caption = gettext(
        "{metric} on the test split against {quantity}: every stage that changed the network. {direction}. Whiskers are 95 % "
        "intervals, hollow points are estimates, dashed lines are limits of the budget.",
        metric=sentence_start(gettext(metric.label)),
        quantity=quantity_label(measure),
        direction=sentence_start(direction(metric)),
    )
    svg = draw_scatter(
        Scatter(
            points=points,
            x=x,
            y=y,
            x_factor=factor,
            y_factor=scale,
            chain=[point for point in points if "chain" in point.style],
            x_limit=limit,
            y_limit=bound,
        ),
        alternative := joined(point.title for point in points),
    )
    return FigureFile(f"{metric.name}_{short}", section, caption, svg, alternative=alternative)


def reduction_factors(record: RunRecord) -> FigureFile | None:
    """Factors by which the artifact is smaller and faster than the reference, or None where nothing changed."""
    name, reference = reference_metrics(record)
    final = final_metrics(record)
    ratios = []
    for measure in ("size_bytes", "parameters", "macs", "latency_ms"):
        before, after = (metrics[measure].value if measure in metrics else None for metrics in (reference, final))
        if before and after and before > 0 and after > 0:
            ratios.append((quantity_label(measure), before / after))
    if all(factor == 1 for _, factor in ratios):
        return None
    axis = axis_of(
        gettext("reduction factor against the {reference}", reference=name),
        [1.0, *(factor for _, factor in ratios)],
        margin=0.0,
    )
    axis = replace(axis, low=axis.low if axis.log else min(axis.low, 0.0), high=axis.high * 1.05)
    bars = [
        ChartBar(label, factor, f"÷ {format_value(factor, '1')}", "artifact" if factor >= 1 else "worse", start=1.0)
        for label, factor in ratios
    ]
    factors = joined((f"{bar.name} {bar.text}" for bar in bars), ", ")
    alternative = gettext("Against the {reference}: {factors}", reference=name, factors=factors)
    caption = gettext("The artifact against the {reference}: reduction factor of each quantity.", reference=name)
    return FigureFile(
        "before_after", "overview", caption, draw_bars([BarGroup("", bars)], axis, alternative), alternative=alternative
    )


def budget_limit(record: RunRecord, name: str, device: str = "") -> float | None:
    """A limit of the recipe's budget, on a device if it is one by device."""
    budget = mapping(record.recipe, "budget")
    limit = mapping(budget, name).get(device) if device else budget.get(name)
    return float(limit) if isinstance(limit, int | float) and not isinstance(limit, bool) else None


def _limit(record: RunRecord, measure: str) -> float | None:
    return budget_limit(record, "size_mb") if measure == "size_bytes" else budget_limit(record, "latency_ms", "host")


def _metric_bound(record: RunRecord, metric: Metric) -> float | None:
    """The metric at the limit of the budget, in display units: its bound, or the reference less the allowed loss."""
    scale = metric_scale(metric)[0]
    bound, loss = budget_limit(record, metric.name), budget_limit(record, metric.loss_name)
    reference = record.teacher.after.get(metric.name) if record.teacher else None
    if bound is None and loss is not None and reference is not None and reference.value is not None:
        bound = reference.value - loss if metric.higher_is_better else reference.value + loss
    return None if bound is None else bound * scale
