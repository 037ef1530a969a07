"""Points with error bars over two quantities, a line through a chain of them, and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.core.language import gettext
from compress.core.record import Quantity
from compress.pipeline.report.charts.axis import Axis
from compress.pipeline.report.charts.frame import Frame, new_frame
from compress.pipeline.report.charts.svg import text_width

RADIUS = 4.5


@dataclass(frozen=True)
class ChartPoint:
    """One network.

    Attributes:
        name: Label; empty for none.
        x: Its horizontal quantity, with a value.
        y: Its vertical quantity, with a value.
        style: Class of its colour.
        title: Text that pages show when the pointer rests on it.
    """

    name: str
    x: Quantity
    y: Quantity
    style: str
    title: str

    @property
    def is_measured(self) -> bool:
        """Whether both quantities are."""
        return self.x.how == "measured" and self.y.how == "measured"


@dataclass(frozen=True)
class Scatter:
    """What a chart of points shows.

    Attributes:
        points: Points, each with a label; those of the chain are drawn above the others.
        x: Horizontal axis, in display units.
        y: Vertical axis, in display units.
        x_factor: From the unit of the quantities to that of the axis.
        y_factor: Likewise.
        chain: Points that a line connects, in order.
        faint: Points without labels, drawn below the others.
        front: Points of a front of best compromises, which a dotted line connects in steps.
        x_limit: A limit, in display units.
        y_limit: Likewise.
    """

    points: Sequence[ChartPoint]
    x: Axis
    y: Axis
    x_factor: float = 1.0
    y_factor: float = 1.0
    chain: Sequence[ChartPoint] = ()
    faint: Sequence[ChartPoint] = ()
    front: Sequence[ChartPoint] = ()
    x_limit: float | None = None
    y_limit: float | None = None


def draw_scatter(scatter: Scatter, alternative: str) -> str:
    """The chart as SVG. Hollow points are estimates; whiskers are intervals or bands."""
    frame = new_frame(scatter.x, scatter.y)
    _limits(frame, scatter)

    def place(point: ChartPoint) -> tuple[float, float]:
        return frame.place((point.x.value or 0.0) * scatter.x_factor, (point.y.value or 0.0) * scatter.y_factor)

    if len(scatter.front) > 1:
        frame.drawing.polyline(_steps([place(point) for point in scatter.front]), "stroke c2 dot")
    if len(scatter.chain) > 1:
        frame.drawing.polyline(map(place, scatter.chain), "stroke artifact thin")
    for point in scatter.faint:
        frame.drawing.circle(place(point), 3.0, f"hollow {point.style}", point.title)
    for point in scatter.points:
        _whiskers(frame, point, scatter)
        fill = "full" if point.is_measured else "hollow"
        frame.drawing.circle(place(point), RADIUS, f"{fill} {point.style}", point.title)
        frame.reserve(place(point), RADIUS + 1)
    for point in scatter.points:
        if point.name:
            frame.label(place(point), point.name)
    return frame.drawing.render(alternative)


def _limits(frame: Frame, scatter: Scatter) -> None:
    if scatter.x_limit is not None:
        x = frame.at_x(scatter.x_limit)
        frame.drawing.line((x, frame.top), (x, frame.bottom), "limit")
        frame.fixed_label((x + 4, frame.bottom - 6), gettext("limit {value:g}", value=scatter.x_limit), "limit-text halo")
    if scatter.y_limit is not None:
        y = frame.place(scatter.x.low, scatter.y_limit)[1]
        frame.drawing.line((frame.left, y), (frame.right, y), "limit")
        text = gettext("limit {value:.4g}", value=scatter.y_limit)
        frame.fixed_label((frame.right - text_width(text, 11), y - 4), text, "limit-text halo")


def _whiskers(frame: Frame, point: ChartPoint, scatter: Scatter) -> None:
    x, y = point.x, point.y
    if x.low is not None and x.high is not None:
        height = (y.value or 0.0) * scatter.y_factor
        ends = [frame.place(end * scatter.x_factor, height) for end in (x.low, x.high)]
        frame.drawing.line(ends[0], ends[1], f"stroke {point.style}")
    if y.low is not None and y.high is not None:
        width = (x.value or 0.0) * scatter.x_factor
        ends = [frame.place(width, end * scatter.y_factor) for end in (y.low, y.high)]
        frame.drawing.line(ends[0], ends[1], f"stroke {point.style}")


def _steps(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places in order of x, connected by horizontal and vertical lines."""
    ordered = sorted(places)
    steps = [ordered[0]]
    for x, y in ordered[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return steps
