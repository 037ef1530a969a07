"""Figures of one stage: training curves, and the deciding metric and network size over the pruning steps."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from compress.core.entries import Row, number
from compress.core.plot_style import (
    COLORS,
    INK,
    FigureFile,
    escape_text,
    label_metric_axis,
    metric_scale,
    new_figure,
    safe_file_name,
    style_axes,
    to_png,
)
from compress.core.record import Curve, Metric, StageRecord

STEPS = "pruning_steps"
"""Table for the figure, with the columns `step`, `macs`, `parameters`, `sparsity`, `METRIC_pruned`, `METRIC_recovered`."""

VALIDATION = "_validation"


def draw_stage(stage: StageRecord, metric: Metric) -> Iterator[FigureFile]:
    """Figures of a stage, as far as its record has data."""
    rows = stage.tables.get(STEPS, ())
    has_steps = len(rows) > 1 and all(_number(row.get("step")) is not None for row in rows)
    if has_steps:
        yield _steps(stage, rows, metric)
    curves = {name: curve for name, curve in stage.curves.items() if not (has_steps and curve.x_label == "pruning step")}
    panels = _panels(curves)
    if panels:
        yield _curves(stage, panels, metric)


def _picture(stage: StageRecord, what: str, caption: str, png: bytes) -> FigureFile:
    name = f"{stage.index:02d}_{safe_file_name(stage.name)}_{what}"
    return FigureFile(name, f"stage-{stage.index}", f"Stage {stage.index}, {stage.name}: {caption}", png)


def _number(item: object) -> float | None:
    return float(item) if isinstance(item, int | float) and not isinstance(item, bool) else None


def _steps(stage: StageRecord, rows: tuple[Row, ...], metric: Metric) -> FigureFile:
    """The metric before and after recovery in each step, and the remaining size of the network.

    Lines connect accepted steps; a hollow marker is a step that was undone.
    """
    figure = new_figure(7.2, 2.8)
    metric_axes, size_axes = figure.subplots(1, 2)
    x, (scale, _) = [float(number(row, "step")) for row in rows], metric_scale(metric)
    undone = [row.get("kept") is False for row in rows]

    def draw(axes: Axes, y: list[float], name: str, color: str) -> None:
        points = list(zip(x, y, undone, strict=True))
        _line(axes, *_columns((a, b) for a, b, skipped in points if not skipped), name, color)
        axes.plot(*_columns((a, b) for a, b, skipped in points if skipped), "o", ms=4, mfc="none", mec=color)

    for key, name, color in (("pruned", "right after pruning", 1), ("recovered", "after recovery", 0)):
        values = [_number(row.get(f"{metric.name}_{key}")) for row in rows]
        draw(metric_axes, [math.nan if value is None else scale * value for value in values], name, COLORS[color])
    for index, (key, name) in enumerate((("macs", "MACs"), ("parameters", "parameters"))):
        whole = _number(rows[0].get(key)) or math.nan
        draw(size_axes, [_percent((_number(row.get(key)) or math.nan) / whole) for row in rows], name, COLORS[index])
    if any(_number(row.get("sparsity")) for row in rows):
        density = [_percent(1 - (_number(row.get("sparsity")) or 0.0)) for row in rows]
        draw(size_axes, density, "nonzero weights", COLORS[2])
    for axes in (metric_axes, size_axes):
        _finish(axes, "pruning step", "fraction of the dense network (%)", x, legend=True)
    label_metric_axis(metric_axes, metric, "validation")
    hollow = "; hollow markers are steps that were undone" * any(undone)
    caption = f"validation {metric.label} and remaining size of the network over the pruning steps{hollow}."
    return _picture(stage, "steps", caption, to_png(figure))


def _columns(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    rows = list(points)
    return [x for x, _ in rows], [y for _, y in rows]


def _percent(value: float | None) -> float:
    return math.nan if value is None else 100 * value


def _panels(curves: Mapping[str, Curve]) -> dict[tuple[str, str], dict[str, Curve]]:
    """Curves that share their axes, training and validation together."""
    panels: dict[tuple[str, str], dict[str, Curve]] = {}
    for name, curve in curves.items():
        if any(value is not None for value in curve.y):
            axes = (_words(curve.x_label), curve.y_label.removesuffix(VALIDATION))
            panels.setdefault(axes, {})[name] = curve
    return panels


def _curves(stage: StageRecord, panels: Mapping[tuple[str, str], dict[str, Curve]], metric: Metric) -> FigureFile:
    columns = min(len(panels), 2 if len(panels) in (2, 4) else 3)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(7.2, 2.7 * rows)
    for index, ((x_label, y_name), curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, index)
        is_metric = y_name == metric.name
        _panel(axes, curves, metric, scale=metric_scale(metric)[0] if is_metric else 1.0)
        alone = len(curves) == 1 and (is_metric or next(iter(curves)) == y_name)
        _finish(axes, x_label, _label(y_name, metric), list(next(iter(curves.values())).x), legend=not alone)
        if is_metric:
            label_metric_axis(axes, metric, "validation" if all(map(_is_validation, curves.items())) else "")
    shown = ", ".join(dict.fromkeys(_label(y_name, metric) for _, y_name in panels))
    validated = any(_is_validation(drawn) for curves in panels.values() for drawn in curves.items())
    caption = f"{shown}{'; broken lines are on validation' * validated}."
    return _picture(stage, "curves", caption, to_png(figure))


def _is_validation(drawn: tuple[str, Curve]) -> bool:
    return any(name.endswith(VALIDATION) for name in (drawn[0], drawn[1].y_label))


def _label(name: str, metric: Metric) -> str:
    """Words for the name of a curve or an axis."""
    whole = rf"(?<![^_]){re.escape(metric.name)}(?![^_])"
    return metric.label.join(map(_words, re.split(whole, name)))


def _panel(axes: Axes, curves: Mapping[str, Curve], metric: Metric, scale: float) -> None:
    """Lines of a panel: a validation curve is dashed and has the colour of its training curve."""
    colors: dict[str, str] = {}
    for name, curve in curves.items():
        color = colors.setdefault(name.removesuffix(VALIDATION), COLORS[len(colors) % len(COLORS)])
        y = [math.nan if value is None else scale * value for value in curve.y]
        style = "--" if _is_validation((name, curve)) else "-"
        has_partner = name.endswith(VALIDATION) and name.removesuffix(VALIDATION) in curves
        _line(axes, list(curve.x), y, "" if has_partner else _label(name, metric), color, style)


def _line(axes: Axes, x: list[float], y: list[float], name: str, color: str, style: str = "-") -> None:
    axes.plot(
        x, y, color=color, lw=1.4, ls=style, marker="o" if len(y) <= 12 else None, ms=3, label=escape_text(name) or "_nolegend_"
    )


def _finish(axes: Axes, x_label: str, y_label: str, x: list[float], *, legend: bool) -> None:
    if legend:
        axes.legend(fontsize=7, frameon=False, labelcolor=INK)
    if x and all(value.is_integer() for value in x):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel(escape_text(x_label))
    axes.set_ylabel(escape_text(y_label))
    style_axes(axes)


def _words(name: str) -> str:
    return name.replace("_", " ")
