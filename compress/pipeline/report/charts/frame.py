"""The frame of a chart: its plot area with grid, ticks and axis labels, and labels of points that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from compress.core.printable import shorten
from compress.pipeline.report.charts.axis import Axis, format_tick
from compress.pipeline.report.charts.svg import Drawing, text_width

WIDTH, HEIGHT = 440.0, 270.0
"""Of a chart, px. Text of 12 px stays readable on a phone, where a chart is 330 px wide."""
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 14.0, 44.0
"""Margins around the plot area, px."""
TEXT_HEIGHT = 13.0
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, px."""


@dataclass
class Frame:
    """The plot area of a drawing.

    Args:
        drawing: The drawing.
        x: Horizontal axis.
        y: Vertical axis, upwards.
        left: Left end of the plot area, px.
        top: Upper end.
        right: Right end.
        bottom: Lower end.
    """

    drawing: Drawing
    x: Axis
    y: Axis
    left: float
    top: float
    right: float
    bottom: float
    _taken: list[Box] = field(default_factory=list)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Position of a pair of values, px."""
        return self.at_x(x), self.bottom - self.y.position(y) * (self.bottom - self.top)

    def at_x(self, x: float) -> float:
        """Horizontal position of a value, px."""
        return self.left + self.x.position(x) * (self.right - self.left)

    def draw_axes(self) -> None:
        """Grid, ticks and labels of both axes."""
        drawing = self.drawing
        for tick in self.x.ticks:
            x = self.at_x(tick)
            drawing.line((x, self.top), (x, self.bottom), "grid")
            drawing.text((x, self.bottom + 15), format_tick(tick), "tick", anchor="middle")
        for tick in self.y.ticks:
            y = self.place(self.x.low, tick)[1]
            drawing.line((self.left, y), (self.right, y), "grid")
            drawing.text((self.left - 6, y + 4), format_tick(tick), "tick", anchor="end")
        drawing.line((self.left, self.bottom), (self.right, self.bottom), "axis")
        drawing.line((self.left, self.top), (self.left, self.bottom), "axis")
        drawing.text(((self.left + self.right) / 2, self.bottom + 34), self.x.label, anchor="middle", characters=56)
        drawing.text((13, (self.top + self.bottom) / 2), self.y.label, anchor="middle", upright=False)

    def reserve(self, centre: tuple[float, float], radius: float) -> None:
        """Keep labels off a circle."""
        x, y = centre
        self._taken.append((x - radius, y - radius, x + radius, y + radius))

    def fixed_label(self, place: tuple[float, float], text: str, style: str) -> None:
        """Write a text at a place, and keep other labels off it."""
        x, y = place
        self._taken.append((x, y - TEXT_HEIGHT + 3, x + text_width(text, 11), y + 3))
        self.drawing.text(place, text, style)

    def label(self, place: tuple[float, float], text: str, style: str = "halo") -> None:
        """Write a text beside a point: at the first place around it that overlaps nothing and is inside the drawing."""
        shown = shorten(text, 26)
        width = text_width(shown)
        box = next((box for box in self._around(place, width) if self._is_free(box)), None) or self._around(place, width)[0]
        self._taken.append(box)
        self.drawing.text((box[0], box[3] - 3), text, style, characters=26)

    def _around(self, place: tuple[float, float], width: float) -> list[Box]:
        x, y = place
        beside = [(x + 9, y - TEXT_HEIGHT / 2), (x - 9 - width, y - TEXT_HEIGHT / 2)]
        for step in range(6):
            away = 8 + step * TEXT_HEIGHT
            beside += [(x - width / 2, y - away - TEXT_HEIGHT), (x - width / 2, y + away)]
            beside += [(x + 4, y - away - TEXT_HEIGHT), (x - 4 - width, y + away)]
        return [(left, top, left + width, top + TEXT_HEIGHT) for left, top in beside]

    def _is_free(self, box: Box) -> bool:
        left, top, right, bottom = box
        inside = left >= self.left and right <= self.drawing.width and top >= 0 and bottom <= self.bottom
        return inside and not any(
            left < taken[2] and right > taken[0] and top < taken[3] and bottom > taken[1] for taken in self._taken
        )


def new_frame(x: Axis, y: Axis, *, legend: int = 0, height: float = HEIGHT) -> Frame:
    """An empty chart with axes, and room for lines of a legend above the plot area."""
    drawing = Drawing(WIDTH, height + 16 * legend)
    frame = Frame(drawing, x, y, LEFT, TOP + 16 * legend, WIDTH - RIGHT, height + 16 * legend - BOTTOM)
    frame.draw_axes()
    return frame


def legend_rows(entries: Sequence[tuple[str, str]]) -> list[list[tuple[float, str, str]]]:
    """Rows of a legend: (x, name, style) of the entries that fit one beside the other."""
    rows: list[list[tuple[float, str, str]]] = []
    x = WIDTH
    for name, style in entries:
        needed = text_width(shorten(name, 30)) + 34
        if x + needed > WIDTH - RIGHT:
            rows.append([])
            x = LEFT
        rows[-1].append((x, name, style))
        x += needed
    return rows


def draw_legend(drawing: Drawing, rows: Sequence[Sequence[tuple[float, str, str]]]) -> None:
    """Draw rows of `legend_rows` at the top; a style is that of a line."""
    for index, row in enumerate(rows):
        y = 16.0 * index + 12
        for x, name, style in row:
            drawing.polyline(((x, y - 4), (x + 20, y - 4)), style)
            drawing.text((x + 25, y), name, characters=30)
