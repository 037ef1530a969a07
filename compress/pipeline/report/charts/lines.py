"""Lines over steps, epochs or sequence lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from compress.pipeline.report.charts.axis import Axis
from compress.pipeline.report.charts.frame import Frame, draw_legend, legend_rows, new_frame

MARKED = 12
"""Largest number of points of a line that are drawn as circles, too."""


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: In the legend; empty for none.
        x: Positions.
        y: Values; NaN leaves a gap.
        style: Classes of its colour and dashes.
        title: What it is, in words, where it has no name in the legend.
        hollow: Points that are drawn as hollow circles, and that the line leaves out.
        ends: Interval of each value, drawn as a whisker; None where there is none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str
    title: str = ""
    hollow: Sequence[bool] = ()
    ends: Sequence[tuple[float, float] | None] = ()


def draw_lines(lines: Sequence[Line], x: Axis, y: Axis, alternative: str) -> str:
    """The chart as SVG, with a legend where a line has a name."""
    rows = legend_rows([(line.name, f"stroke {line.style}") for line in lines if line.name])
    frame = new_frame(x, y, legend=len(rows))
    draw_legend(frame.drawing, rows)
    for line in lines:
        colour = line.style.partition(" ")[0]
        _whiskers(frame, line, f"stroke {colour}")
        skipped = line.hollow or [False] * len(line.x)
        parts: list[list[tuple[float, float]]] = [[]]
        for value_x, value_y, is_hollow in zip(line.x, line.y, skipped, strict=True):
            if not math.isfinite(value_y):
                parts.append([])
            elif is_hollow:
                frame.drawing.circle(frame.place(value_x, value_y), 3, f"hollow {colour}")
            else:
                parts[-1].append(frame.place(value_x, value_y))
        for part in parts:
            if len(part) > 1:
                frame.drawing.polyline(part, f"stroke {line.style}")
            if len(line.x) <= MARKED or len(part) == 1:
                for place in part:
                    frame.drawing.circle(place, 2.4, f"full {colour}")
    return frame.drawing.render(alternative)


def _whiskers(frame: Frame, line: Line, style: str) -> None:
    for value_x, interval in zip(line.x, line.ends, strict=False):
        if interval is not None:
            low, high = (frame.place(value_x, end) for end in interval)
            frame.drawing.line(low, high, style)
