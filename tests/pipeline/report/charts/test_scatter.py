"""Charts of points."""

import re

from compress.core.record import Quantity
from compress.pipeline.report.charts.axis import Axis
from compress.pipeline.report.charts.scatter import ChartPoint, Scatter, draw_scatter

X, Y = Axis("ms", 0, 10), Axis("%", 0, 100)


def point(x: float, y: float, *, estimated: bool = False) -> ChartPoint:
    latency = Quantity.estimated(x, "ms", "a model", band=(x / 2, x * 2)) if estimated else Quantity.measured(x, "ms")
    accuracy = Quantity.measured(y, "fraction", interval=(y - 0.1, y + 0.1))
    return ChartPoint(f"p{x:g}", latency, accuracy, "artifact", f"{x} {y}")


def circles(svg: str) -> list[tuple[float, float, str]]:
    return [
        (float(x), float(y), style)
        for x, y, style in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="4.5" class="(\w+)', svg)
    ]


def test_points_stand_at_their_values_in_display_units() -> None:
    svg = draw_scatter(Scatter([point(5, 0.5), point(10, 1.0, estimated=True)], X, Y, y_factor=100), "a")
    (x1, y1, first), (x2, y2, second) = circles(svg)
    assert (first, second) == ("full", "hollow")
    assert (x1 < x2, y1 > y2) == (True, True)
    (area,) = re.findall(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" class="axis"/><line', svg)
    assert x2 == float(area[1])  # the end of the axis
    assert abs(x1 - (float(area[0]) + float(area[1])) / 2) < 0.11


def test_limits_and_the_chain_are_drawn_only_where_there_are_some() -> None:
    points = [point(2, 0.5), point(4, 0.6)]
    plain = draw_scatter(Scatter(points, X, Y, y_factor=100), "a")
    full = draw_scatter(Scatter(points, X, Y, y_factor=100, chain=points, x_limit=5, y_limit=55), "a")
    assert 'class="limit"' not in plain
    assert full.count('class="limit"') == 2
    assert "limit 5<" in full
    assert "<polyline" in full
    assert "<polyline" not in plain


def test_whiskers_reach_to_both_ends() -> None:
    svg = draw_scatter(Scatter([point(5, 0.5, estimated=True)], X, Y, y_factor=100), "a")
    whiskers = re.findall(r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="stroke artifact"', svg)
    assert len(whiskers) == 2
    (left, _, right, _), (_, bottom, _, top) = ([float(value) for value in whisker] for whisker in whiskers)
    ((x, y, _),) = circles(svg)
    assert left < x < right
    assert top < y < bottom
