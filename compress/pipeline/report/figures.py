"""Figures of a report, drawn from records with matplotlib's object interface: no window, no global state.

Equal records give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import NullFormatter

from compress.core.comparable_latency import stage_metrics
from compress.core.format_quantity import quantity_label
from compress.core.plot_style import (
    COLORS,
    GREY,
    INK,
    LABEL_STYLE,
    SUBJECT_COLORS,
    FigureFile,
    LabelStyle,
    error_bar,
    escape_text,
    label_metric_axis,
    metric_scale,
    new_figure,
    scale_x,
    separate_labels,
    style_axes,
    three_digits,
    to_png,
    value_or_none,
)
from compress.core.record import BenchmarkRow, Metrics, Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.benchmark_rows import benchmark_rows
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.stage_figures import saved_figures
from compress.pipeline.report.tables import control_of, final_metrics, reference_metrics
from compress.pipeline.report.training_curves import draw_stage


def draw(record: RunRecord, run: Path | None = None) -> tuple[FigureFile, ...]:
    """All figures for which a record has data, in the order of the report, and those that stages saved in the run directory."""
    overview = [
        _before_after(record),
        _metric_against(record, "size_bytes", "size", 1e-6, "size of the ONNX file (MB)"),
        _metric_against(record, "latency_ms", "latency", 1.0, "latency on the host (ms)"),
        _latency(record),
    ]
    metric = deciding_metric(record)
    own = (
        picture
        for stage in record.every_stage
        for picture in (*(saved_figures(stage, run) if run else ()), *draw_stage(stage, metric))
    )
    return (*(picture for picture in overview if picture), *own)


@dataclass(frozen=True)
class _Point:
    name: str
    x: Quantity
    y: Quantity
    in_chain: bool


def _points(record: RunRecord, measure: str) -> list[_Point]:
    """Teacher, student trained alone and every stage that changed the network."""
    points: list[_Point] = []
    metric = deciding_metric(record).name

    def add(name: str, metrics: Metrics, *, in_chain: bool) -> None:
        x, y = metrics.get(measure), metrics.get(metric)
        if x is not None and y is not None and x.value is not None and y.value is not None:
            points.append(_Point(name, x, y, in_chain))

    if record.teacher:
        add("teacher", reference_metrics(record)[1], in_chain=False)
    control = control_of(record)
    if control:
        add("student alone", {**control[0].after, metric: control[1]}, in_chain=False)
    states = [tuple(value_or_none(stage.after.get(name)) for name in (metric, "size_bytes")) for stage in record.stages]
    for stage, state, before in zip(record.stages, states, [(), *states], strict=False):
        if state != before:
            add(stage.name, final_metrics(record) if state == states[-1] else stage_metrics(record, stage), in_chain=True)
    return points


def _limit(record: RunRecord, *path: str) -> float | None:
    """A limit of the recipe's budget."""
    limit: object = record.recipe.get("budget")
    for key in path:
        limit = limit.get(key) if isinstance(limit, dict) else None
    return float(limit) if isinstance(limit, int | float) else None


def _metric_against(record: RunRecord, measure: str, short: str, factor: float, axis: str) -> FigureFile | None:
    points = _points(record, measure)
    if len(points) < 2:
        return None
    metric = deciding_metric(record)
    scale, _ = metric_scale(metric)
    figure = new_figure(7.2, 3.7)
    axes = figure.add_subplot()
    chain = [point for point in points if point.in_chain]
    x, y = [(p.x.value or 0) * factor for p in chain], [(p.y.value or 0) * scale for p in chain]
    axes.plot(x, y, color=COLORS[0], lw=1, alpha=0.5)
    labels = [_point(axes, point, factor, scale, inverted=not metric.higher_is_better) for point in points]
    limit = _limit(record, "size_mb") if measure == "size_bytes" else _limit(record, "latency_ms", "host")
    if limit:
        axes.axvline(limit, color=COLORS[5], lw=1, ls="--", label=f"budget: {limit:g}")
        axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="upper right")
    scale_x(axes, [*((p.x.value or 0) * factor for p in points), *((limit,) if limit else ())])
    axes.margins(y=0.25)
    axes.set_xlabel(axis)
    label_metric_axis(axes, metric, "test")
    style_axes(axes)
    separate_labels(figure, labels)
    caption = (
        f"Test {metric.label} against {short} after every stage that changed the network; whiskers are 95 % intervals, hollow "
        "points are estimates."
    )
    return FigureFile(f"{metric.name}_{short}", "overview", caption, to_png(figure))


def _point(axes: Axes, point: _Point, factor: float, scale: float, *, inverted: bool) -> Annotation:
    """Draw a point with whiskers and name, above for a stage and below for others; returns the annotation of the name."""
    x, y = (point.x.value or 0) * factor, (point.y.value or 0) * scale
    color = COLORS[0] if point.in_chain else SUBJECT_COLORS["teacher" if point.name == "teacher" else "student"]
    fill = color if point.x.how == "measured" and point.y.how == "measured" else "white"
    below, above = error_bar(point.y, scale)
    axes.errorbar(x, y, (below, above), error_bar(point.x, factor), "o", ms=6, color=color, mfc=fill, elinewidth=1)
    position = (x, y + above[0]) if point.in_chain != inverted else (x, y - below[0])
    shift, side = (3, "bottom") if point.in_chain else (-3, "top")
    style: LabelStyle = {**LABEL_STYLE, "color": color}
    return axes.annotate(
        escape_text(point.name), position, (0, shift), textcoords="offset points", ha="center", va=side, **style
    )


def _before_after(record: RunRecord) -> FigureFile | None:
    """Factors by which the artifact is smaller and faster than the reference."""
    name, reference = reference_metrics(record)
    final = final_metrics(record)
    ratios = []
    for measure in ("size_bytes", "parameters", "macs", "latency_ms"):
        before, after = value_or_none(reference.get(measure)), value_or_none(final.get(measure))
        if before and after and before > 0 and after > 0:
            ratios.append((quantity_label(measure), before / after))
    if all(factor == 1 for _, factor in ratios):
        return None
    figure = new_figure(7.2, 0.6 + 0.42 * len(ratios))
    axes = figure.add_subplot()
    labels, factors = [pair[0] for pair in ratios], [pair[1] for pair in ratios]
    colors = [COLORS[0] if factor >= 1 else COLORS[5] for factor in factors]
    bars = axes.barh(labels, factors, color=colors, height=0.6, left=0)
    axes.bar_label(bars, labels=[f"÷ {three_digits(factor)}" for factor in factors], padding=4, fontsize=9, color=INK)
    axes.set_xscale("log")
    axes.set_xlim(min(1.0, *factors) * 0.9, max(2.0, *factors) * 1.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_yaxis()
    axes.set_xlabel(f"reduction factor against the {name} (logarithmic)")
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
    caption = f"The artifact against the {name}: reduction factor of each quantity."
    return FigureFile("before_after", "overview", caption, to_png(figure))


def _latency(record: RunRecord) -> FigureFile | None:
    """Bars of the median latency of every network on every device, estimates hatched."""
    groups: dict[str, dict[str, BenchmarkRow]] = {}
    for _, row in benchmark_rows(record):
        groups.setdefault(row.device, {})[row.subject] = row
    rows = [row for group in groups.values() for row in group.values()]
    known = [value for row in rows if (value := value_or_none(row.quantities.get(row.latency_name))) and value > 0]
    if not known:
        return None
    figure = new_figure(7.2, 0.9 + 0.24 * len(rows) + 0.16 * len(groups))
    axes = figure.add_subplot()
    floor = min(known) / 4
    position, ticks = 0.0, []
    for device, group in groups.items():
        ticks.append((position + (len(group) - 1) / 2, escape_text(device)))
        for row in group.values():
            _bar(axes, position, row, floor)
            position += 1
        limit = _limit(record, "latency_ms", device)
        if limit:
            axes.plot([limit, limit], [position - len(group) - 0.5, position - 0.5], color=COLORS[5], lw=1.2, ls="--")
        position += 0.7
    axes.set_yticks([tick for tick, _ in ticks], [name for _, name in ticks])
    axes.set_xscale("log")
    axes.set_xlim(floor, max(known) * 8)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.invert_yaxis()
    axes.set_xlabel("latency p50 of one sample (ms, logarithmic)")
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
    caption = (
        "Median latency by device, for the arrival pattern of its profile: plain bars are measured, hatched ones "
        "estimated; whiskers are 95 % intervals or error bands, the small upright stroke is p99, a dashed line is the budget."
    )
    return FigureFile("latency", "devices", caption, to_png(figure))


def _bar(axes: Axes, position: float, row: BenchmarkRow, floor: float) -> None:
    quantity = row.quantities.get(row.latency_name)
    color = SUBJECT_COLORS.get(row.subject, COLORS[3])
    if quantity is None or not quantity.value or quantity.value <= 0:
        axes.text(floor * 1.1, position, f"{escape_text(row.subject)}: not measured", va="center", fontsize=8, color=GREY)
        return
    style = {"color": color} if quantity.how == "measured" else {"facecolor": "white", "edgecolor": color, "hatch": "/////"}
    strokes = {"ecolor": INK, "elinewidth": 1, "capsize": 2}
    axes.barh(position, quantity.value, height=0.8, xerr=error_bar(quantity, 1.0), error_kw=strokes, **style)  # type: ignore[arg-type]
    tail = value_or_none(row.quantities.get("latency_p99_ms"))
    if tail:
        axes.plot([tail, tail], [position - 0.3, position + 0.3], color=color, lw=1.5)
    right = max(quantity.value, quantity.high or 0.0, tail or 0.0)
    text = f"{escape_text(row.subject)} {three_digits(quantity.value)}"
    axes.annotate(text, (right, position), (5, 0), textcoords="offset points", va="center", **LABEL_STYLE)
