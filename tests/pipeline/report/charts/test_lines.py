"""Charts of lines."""

import math
import re
from dataclasses import replace

from compress.pipeline.report.charts.axis import Axis
from compress.pipeline.report.charts.lines import Line, draw_lines

X, Y = Axis("epoch", 0, 20, whole=True), Axis("loss", 0, 1)


def polylines(svg: str) -> list[int]:
    return [len(points.split()) for points in re.findall(r'<polyline points="([^"]*)" class="stroke c0"', svg)]


def test_a_value_that_is_no_number_leaves_a_gap() -> None:
    line = Line("", range(6), [0.1, 0.2, math.nan, 0.4, 0.5, 0.6], "c0")
    svg = draw_lines([line], X, Y, "a")
    assert polylines(svg) == [2, 3]
    assert "nan" not in svg


def test_only_short_lines_have_points() -> None:
    short, long = (draw_lines([Line("", range(n), [0.5] * n, "c0")], X, Y, "a") for n in (5, 15))
    assert (short.count("<circle"), long.count("<circle")) == (5, 0)


def test_hollow_points_are_not_connected() -> None:
    line = Line("", range(4), [0.1, 0.9, 0.2, 0.3], "c0", hollow=(False, True, False, False))
    svg = draw_lines([line], X, Y, "a")
    assert polylines(svg) == [3]
    assert svg.count('class="hollow c0"') == 1


def test_a_named_line_is_in_the_legend_and_the_plot_area_is_below_it() -> None:
    plain, named = (draw_lines([Line(name, (0, 1, 2), (0, 0.5, 1), "c0")], X, Y, "a") for name in ("", "training"))
    assert "training" in named
    heights = [float(re.findall(r'viewBox="0 0 440 (\d+)"', svg)[0]) for svg in (plain, named)]
    assert heights[1] == heights[0] + 16


def test_an_interval_is_a_whisker() -> None:
    line = Line("", (1, 2, 3), [0.2, 0.4, 0.6], "c0 dash", ends=((0.1, 0.3), None, (0.5, 0.7)))
    plain, with_whiskers = (draw_lines([each], X, Y, "a") for each in (replace(line, ends=()), line))
    assert with_whiskers.count('class="stroke c0"') - plain.count('class="stroke c0"') == 2
