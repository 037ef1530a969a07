"""Pictures of one stage: training curves, and the deciding metric and network size over the pruning steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from compress.core.entries import Row, number
from compress.core.file_name import safe_file_name
from compress.core.language import gettext, joined
from compress.core.record import Curve, Metric, StageRecord
from compress.core.sentences.names import column_words, stage_caption
from compress.pipeline.report.charts.axis import Axis, axis_of, counted
from compress.pipeline.report.charts.lines import Line, draw_lines
from compress.pipeline.report.charts.svg import SERIES
from compress.pipeline.report.figures.figure_file import FigureFile
from compress.pipeline.report.figures.metric_axis import metric_axis, metric_scale

STEPS = "pruning_steps"
"""Table for the picture, with the columns `step`, `macs`, `parameters`, `sparsity`, `METRIC_pruned`, `METRIC_recovered`."""

VALIDATION = "_validation"
Panel = tuple[str, str]
"""Labels of the axes of curves that are drawn together."""


def draw_stage(stage: StageRecord, metric: Metric) -> Iterator[FigureFile]:
    """Pictures of a stage, as far as its record has data."""
    rows = stage.tables.get(STEPS, ())
    has_steps = len(rows) > 1 and all(_number(row.get("step")) is not None for row in rows)
    if has_steps:
        yield _metric_of_steps(stage, rows, metric)
        yield _size_of_steps(stage, rows)
    curves = {name: curve for name, curve in stage.curves.items() if not (has_steps and curve.x_label == "pruning step")}
    for panel, drawn in _panels(curves).items():
        yield _curves(stage, panel, drawn, metric)


def _picture(stage: StageRecord, what: str, caption: str, lines: Sequence[Line], axes: tuple[Axis, Axis]) -> FigureFile:
    name = f"{stage.index:02d}_{safe_file_name(stage.name)}_{what}"
    ends = (_ends(line) for line in lines)
    shown = joined(text for text in ends if text)
    alternative = gettext("{y} over {x}: {lines}", y=axes[1].label, x=axes[0].label, lines=shown)
    sentence = stage_caption(stage, caption)
    svg = draw_lines(lines, *axes, alternative)
    return FigureFile(name, f"stage-{stage.index}", sentence, svg, alternative=alternative)


def _ends(line: Line) -> str:
    """First and last value of a line, in words."""
    values = [value for value in line.y if math.isfinite(value)]
    if not values:
        return ""
    return gettext("{name} from {first:.4g} to {last:.4g}", name=line.name or line.title, first=values[0], last=values[-1])


def _number(item: object) -> float | None:
    return float(item) if isinstance(item, int | float) and not isinstance(item, bool) else None


def _step_axis(x: Sequence[float]) -> Axis:
    return counted(axis_of(gettext("pruning step"), x, margin=0.04, log=False))


def _metric_of_steps(stage: StageRecord, rows: Sequence[Row], metric: Metric) -> FigureFile:
    """The metric before and after recovery in each step; a hollow point is a step that was undone."""
    x, (scale, _) = [float(number(row, "step")) for row in rows], metric_scale(metric)
    undone = [row.get("kept") is False for row in rows]
    lines = []
    for key, name, style in (
        ("pruned", gettext("right after pruning"), "c1"),
        ("recovered", gettext("after recovery"), "c0"),
    ):
        values = [_number(row.get(f"{metric.name}_{key}")) for row in rows]
        lines.append(Line(name, x, [math.nan if value is None else scale * value for value in values], style, hollow=undone))
    y = metric_axis(metric, _finite(lines), "validation")
    caption = gettext("validation {metric} over the pruning steps", metric=gettext(metric.label))
    if any(undone):
        caption = joined((caption, gettext("hollow points are steps that were undone")))
    return _picture(stage, "steps", caption, lines, (_step_axis(x), y))


def _size_of_steps(stage: StageRecord, rows: Sequence[Row]) -> FigureFile:
    """The remaining size of the network after each step."""
    x = [float(number(row, "step")) for row in rows]
    undone = [row.get("kept") is False for row in rows]
    lines = []
    for key, name, style in (("macs", gettext("MACs"), "c0"), ("parameters", gettext("parameters"), "c1")):
        whole = _number(rows[0].get(key)) or math.nan
        shares = [100 * (_number(row.get(key)) or math.nan) / whole for row in rows]
        lines.append(Line(name, x, shares, style, hollow=undone))
    if any(_number(row.get("sparsity")) for row in rows):
        density = [100 * (1 - (_number(row.get("sparsity")) or 0.0)) for row in rows]
        lines.append(Line(gettext("nonzero weights"), x, density, "c2", hollow=undone))
    y = replace(axis_of(gettext("share of the dense network (%)"), [0.0, *_finite(lines)], margin=0.06, log=False), low=0.0)
    caption = gettext("remaining size of the network over the pruning steps")
    return _picture(stage, "remaining", caption, lines, (_step_axis(x), y))


def _finite(lines: Sequence[Line]) -> list[float]:
    return [value for line in lines for value in line.y if math.isfinite(value)]


def _panels(curves: Mapping[str, Curve]) -> dict[Panel, dict[str, Curve]]:
    """Curves that share their axes, training and validation together."""
    panels: dict[Panel, dict[str, Curve]] = {}
    for name, curve in curves.items():
        if any(value is not None for value in curve.y):
            axes = (curve.x_label, curve.y_label.removesuffix(VALIDATION))
            panels.setdefault(axes, {})[name] = curve
    return panels


def _curves(stage: StageRecord, panel: Panel, curves: Mapping[str, Curve], metric: Metric) -> FigureFile:
    """Curves of a panel: a validation curve is broken and has the colour of its training curve."""
    x_label, y_name = panel
    is_metric = y_name == metric.name
    scale = metric_scale(metric)[0] if is_metric else 1.0
    alone = len(curves) == 1 and (is_metric or next(iter(curves)) == y_name)
    styles: dict[str, str] = {}
    lines = []
    for name, curve in curves.items():
        style = styles.setdefault(name.removesuffix(VALIDATION), f"c{len(styles) % SERIES}")
        y = [math.nan if value is None else scale * value for value in curve.y]
        has_partner = name.endswith(VALIDATION) and name.removesuffix(VALIDATION) in curves
        shown = "" if has_partner or alone else column_words(name, metric)
        dashed = f"{style} dash" if _is_validation(name, curve) else style
        lines.append(Line(shown, curve.x, y, dashed, title=column_words(name, metric)))
    steps = [value for curve in curves.values() for value in curve.x]
    x_axis = axis_of(column_words(x_label, metric), steps, margin=0.04, log=False)
    validated = [_is_validation(name, curve) for name, curve in curves.items()]
    label = column_words(y_name, metric)
    if is_metric:
        y_axis = metric_axis(metric, _finite(lines), "validation" if all(validated) else "")
    else:
        y_axis = axis_of(label, _finite(lines), margin=0.08, log=False)
    if all(value.is_integer() for value in steps):
        x_axis = counted(x_axis)
    caption = joined((label, *((gettext("dashed lines are on the validation split"),) if any(validated) else ())))
    return _picture(stage, f"curves_{safe_file_name(y_name)[:40]}", caption, lines, (x_axis, y_axis))


def _is_validation(name: str, curve: Curve) -> bool:
    return any(each.endswith(VALIDATION) for each in (name, curve.y_label))
