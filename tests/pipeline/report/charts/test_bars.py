"""Charts of bars."""

import re

import pytest

from compress.pipeline.report.charts.axis import Axis
from compress.pipeline.report.charts.bars import BarGroup, ChartBar, draw_bars
from compress.pipeline.report.charts.frame import WIDTH
from compress.pipeline.report.charts.svg import text_width

AXIS = Axis("ms", 0, 10)


def rectangles(svg: str) -> list[tuple[float, float, str]]:
    pattern = r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" class="(\w+)'
    return [(float(x), float(width), style) for x, width, style in re.findall(pattern, svg)]


def test_widths_are_proportional_to_values() -> None:
    svg = draw_bars(
        [BarGroup("", [ChartBar("a", 10, "10 ms", "c0"), ChartBar("b", 2.5, "2.5 ms", "c0", hollow=True)])], AXIS, "a"
    )
    (_, whole, first), (_, quarter, second) = rectangles(svg)
    assert whole == pytest.approx(4 * quarter, abs=0.3)
    assert (first, second) == ("full", "hollow")


def test_a_bar_spans_from_its_start_to_its_value_in_either_direction() -> None:
    svg = draw_bars([BarGroup("", [ChartBar("up", 8, "", "c0", start=4), ChartBar("down", 4, "", "c0", start=8)])], AXIS, "a")
    first, second = rectangles(svg)
    assert first == second


def test_a_bar_without_a_value_is_a_sentence() -> None:
    svg = draw_bars([BarGroup("", [ChartBar("a", None, "not measured", "c0")])], AXIS, "a")
    assert rectangles(svg) == []
    assert "not measured" in svg


def test_names_and_values_stay_inside() -> None:
    bars = [ChartBar("a long name of a layer " * 4, 10, "10.0 ms (−12.3 points)", "c0", high=10, low=9, mark=10)]
    svg = draw_bars([BarGroup("group", bars, limit=5)], AXIS, "a")
    for x, anchor, text in re.findall(r'<text x="([\d.]+)" y="[\d.]+"(?: class="[^"]*")?( text-anchor="end")?>([^<]*)<', svg):
        assert float(x) - (text_width(text) if anchor else 0) >= -1
        assert float(x) + (0 if anchor else text_width(text, 11)) <= WIDTH + 1
    assert 'class="limit"' in svg
