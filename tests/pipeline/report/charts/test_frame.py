"""Frames of charts."""

import re

from compress.pipeline.report.charts.axis import Axis
from compress.pipeline.report.charts.frame import WIDTH, legend_rows, new_frame
from compress.pipeline.report.charts.svg import text_width


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    texts = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="halo">([^<]+)<', svg)
    return [(float(x), float(y) - 10, float(x) + text_width(text), float(y)) for x, y, text in texts]


def test_labels_of_near_points_do_not_overlap() -> None:
    frame = new_frame(Axis("x", 0, 1), Axis("y", 0, 1))
    points = [frame.place(0.5 + 0.01 * index, 0.5) for index in range(6)]
    for place in points:
        frame.reserve(place, 5)
    for index, place in enumerate(points):
        frame.label(place, f"network {index}")
    placed = boxes(frame.drawing.render("a"))
    assert len(placed) == 6
    for index, (left, top, right, bottom) in enumerate(placed):
        assert right <= WIDTH
        for other in placed[:index]:
            assert right <= other[0] or left >= other[2] or bottom <= other[1] or top >= other[3]


def test_corners_of_the_plot_area_are_the_ends_of_the_axes() -> None:
    frame = new_frame(Axis("x", 1, 3), Axis("y", -1, 1))
    assert frame.place(1, -1) == (frame.left, frame.bottom)
    assert frame.place(3, 1) == (frame.right, frame.top)


def test_a_legend_wraps_before_the_edge() -> None:
    rows = legend_rows([(f"a rather long name {index}", "c0") for index in range(4)])
    assert len(rows) > 1
    assert sum(map(len, rows)) == 4
    assert all(x + text_width(name) + 25 <= WIDTH for row in rows for x, name, _ in row)
