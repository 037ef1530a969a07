"""Pictures of layers: their time before and after, their widths after pruning, and their SQNR after quantization."""

from __future__ import annotations

from collections.abc import Iterator

from compress.core.entries import Row
from compress.core.file_name import safe_file_name
from compress.core.format_quantity import format_value
from compress.core.language import gettext
from compress.core.record import StageRecord
from compress.core.sentences.names import network_words, stage_caption
from compress.pipeline.report.charts.axis import Axis
from compress.pipeline.report.charts.bars import BarGroup, ChartBar, draw_bars
from compress.pipeline.report.figures.figure_file import FigureFile

SHOWN = 12
"""Largest number of layers in a picture."""


def layer_figures(stage: StageRecord) -> Iterator[FigureFile]:
    """Pictures of the layers of a stage, as far as its tables have them."""
    for picture in (_times(stage), _widths(stage), _sqnr(stage)):
        if picture is not None:
            yield picture


def _times(stage: StageRecord) -> FigureFile | None:
    """The slowest layers of the student, and the same layers of the artifact."""
    rows = [row for row in stage.tables.get("layers_time", ()) if _value(row, "student_ms") is not None]
    rows = sorted(rows, key=lambda row: -(_value(row, "student_ms") or 0.0))[:SHOWN]
    if len(rows) < 2:
        return None
    groups = []
    for row in rows:
        before, after = _value(row, "student_ms") or 0.0, _value(row, "artifact_ms")
        text = gettext("no kernel of its own") if after is None else format_value(after, "ms")
        bars = [
            ChartBar(network_words("student"), before, format_value(before, "ms"), "student", start=0.0),
            ChartBar(network_words("artifact"), after, text, "artifact", start=0.0),
        ]
        groups.append(BarGroup(str(row.get("module", "")), bars))
    values = [bar.value for group in groups for bar in group.bars if bar.value is not None]
    caption = gettext("the {count} slowest layers of the student, before and after", count=len(rows))
    return _picture(stage, "layers", caption, groups, (gettext("time (ms)"), max(values)))


def _widths(stage: StageRecord) -> FigureFile | None:
    """The layers that lost most outputs: the width before, and after."""
    rows = [
        (str(row.get("layer", "")), before, after)
        for row in stage.tables.get("layers", ())
        if (before := _number(row.get("out_before"))) and (after := _number(row.get("out_after"))) is not None
    ]
    rows = sorted(rows, key=lambda row: row[2] / row[1])[:SHOWN]
    if not rows or all(before == after for _, before, after in rows):
        return None
    bars = [
        ChartBar(
            name, 100 * after / before, gettext("{after:g} of {before:g}", after=after, before=before), "artifact", start=0.0
        )
        for name, before, after in rows
    ]
    what = gettext("outputs kept in the {count} layers that lost the largest share of their outputs", count=len(bars))
    return _picture(stage, "widths", what, [BarGroup("", bars)], (gettext("outputs kept (%)"), 100.0))


def _kept(before: float, after: float) -> str:
    return gettext("{after:g} of {before:g}", after=after, before=before)


def _sqnr(stage: StageRecord) -> FigureFile | None:
    """The layers with the lowest ratio of signal to quantization noise."""
    rows = [
        (str(row.get("layer", "")), value)
        for row in stage.tables.get("layer_sqnr", ())
        if (value := _number(row.get("sqnr_db"))) is not None
    ]
    rows = sorted(rows, key=lambda row: row[1])[:SHOWN]
    if len(rows) < 2:
        return None
    bars = [ChartBar(name, value, format_value(value, "dB"), "artifact", start=0.0) for name, value in rows]
    what = gettext(
        "signal-to-quantization-noise ratio of the {count} layers where it is lowest; higher is better", count=len(bars)
    )
    return _picture(stage, "sqnr", what, [BarGroup("", bars)], ("SQNR (dB)", max(1.0, rows[-1][1])))


def _picture(stage: StageRecord, what: str, caption: str, groups: list[BarGroup], scale: tuple[str, float]) -> FigureFile:
    """A picture of bars on a scale with this label and end."""
    label, high = scale
    values = [bar.value for group in groups for bar in group.bars if bar.value is not None]
    axis = Axis(label, min(0.0, *values), high)
    texts = (
        f"{group.title}{': ' if group.title else ''}{', '.join(f'{bar.name} {bar.text}' for bar in group.bars)}"
        for group in groups
    )
    alternative = "; ".join(texts)
    name = f"{stage.index:02d}_{safe_file_name(stage.name)}_{what}"
    sentence = stage_caption(stage, caption)
    return FigureFile(name, f"stage-{stage.index}", sentence, draw_bars(groups, axis, alternative), alternative=alternative)


def _value(row: Row, name: str) -> float | None:
    """The value of a quantity in a table, which has it as JSON."""
    quantity = row.get(name)
    return _number(quantity.get("value")) if isinstance(quantity, dict) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
