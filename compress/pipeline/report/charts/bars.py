"""Horizontal bars with names, values and error bars, in groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.core.printable import shorten
from compress.pipeline.report.charts.axis import Axis, format_tick
from compress.pipeline.report.charts.frame import WIDTH
from compress.pipeline.report.charts.svg import Drawing, text_width

ROW, GAP = 19.0, 9.0
NAME_CHARACTERS, TEXT_CHARACTERS = 24, 26


@dataclass(frozen=True)
class ChartBar:
    """One bar.

    Attributes:
        name: Left of it.
        value: Its end, in display units; None draws the text only.
        text: Right of it.
        style: Class of its colour.
        start: Where it begins; None at the start of the axis.
        hollow: Whether it is an estimate.
        low: Lower end of the interval or band.
        high: Upper end.
        mark: Further value with a stroke.
    """

    name: str
    value: float | None
    text: str
    style: str
    start: float | None = None
    hollow: bool = False
    low: float | None = None
    high: float | None = None
    mark: float | None = None


@dataclass(frozen=True)
class BarGroup:
    """Bars under a title, with a limit.

    Attributes:
        title: Above them; empty for none.
        bars: From top to bottom.
        limit: In display units.
    """

    title: str
    bars: Sequence[ChartBar]
    limit: float | None = None


def draw_bars(groups: Sequence[BarGroup], axis: Axis, alternative: str) -> str:
    """The chart as SVG.

    Args:
        groups: Bars.
        axis: Horizontal axis.
        alternative: What it shows, in words.
    """
    names = [shorten(bar.name, NAME_CHARACTERS) for group in groups for bar in group.bars]
    left = min(170.0, max((text_width(name) for name in names), default=0.0) + 10)
    rows = sum(len(group.bars) + bool(group.title) for group in groups)
    bottom = 6 + rows * ROW + GAP * (len(groups) - 1)
    drawing = Drawing(WIDTH, bottom + 42)
    texts = [shorten(bar.text, TEXT_CHARACTERS) for group in groups for bar in group.bars if bar.value is not None]
    right = WIDTH - 12 - max((text_width(text, 11) for text in texts), default=0.0)

    def at(value: float) -> float:
        return left + axis.position(value) * (right - left)

    for tick in axis.ticks:
        drawing.line((at(tick), 4), (at(tick), bottom), "grid")
        drawing.text((at(tick), bottom + 15), format_tick(tick), "tick", anchor="middle")
    drawing.line((left, bottom), (right, bottom), "axis")
    drawing.text(((left + right) / 2, bottom + 34), axis.label, anchor="middle", characters=60)
    y = 6.0
    for group in groups:
        if group.title:
            drawing.text((0, y + 13), group.title, "strong")
            y += ROW
        top = y
        for bar in group.bars:
            drawing.text((left - 7, y + 13), bar.name, anchor="end", characters=NAME_CHARACTERS)
            _bar(drawing, bar, y, axis, at)
            y += ROW
        if group.limit is not None:
            drawing.line((at(group.limit), top), (at(group.limit), y), "limit")
        y += GAP
    return drawing.render(alternative)


def _bar(drawing: Drawing, bar: ChartBar, y: float, axis: Axis, at: Callable[[float], float]) -> None:
    middle = y + ROW / 2
    if bar.value is None:
        drawing.text((at(axis.low) + 6, y + 13), bar.text, "tick", characters=50)
        return
    first, last = sorted((at(axis.low if bar.start is None else bar.start), at(bar.value)))
    fill = "hollow" if bar.hollow else "full"
    drawing.rectangle((first, y + 3), max(1.0, last - first), ROW - 6, f"{fill} {bar.style}", f"{bar.name}: {bar.text}")
    ends = [last]
    if bar.low is not None and bar.high is not None:
        ends.append(at(bar.high))
        drawing.line((at(bar.low), middle), (at(bar.high), middle), "whisker")
    if bar.mark is not None:
        ends.append(at(bar.mark))
        drawing.line((at(bar.mark), y + 4), (at(bar.mark), y + ROW - 4), f"stroke {bar.style}")
    drawing.text((max(ends) + 5, y + 13), bar.text, "tick halo", characters=TEXT_CHARACTERS)
