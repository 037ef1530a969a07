"""Scales of charts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.pipeline.report.charts.axis import Axis, axis_of, counted, format_tick

VALUES = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


@given(st.lists(VALUES, max_size=6), st.booleans())
def test_every_value_is_inside_and_ticks_are_few_and_in_order(values: list[float], inverted: bool) -> None:
    axis = axis_of("x", values, inverted=inverted)
    assert axis.low < axis.high
    assert all(axis.low <= value <= axis.high for value in values)
    ticks = axis.ticks
    assert len(ticks) <= 14
    assert list(ticks) == sorted(set(ticks))
    assert all(axis.low - 1e-9 <= tick <= axis.high + 1e-9 * abs(axis.high) for tick in ticks)


@given(st.lists(st.floats(min_value=1e-6, max_value=1e9), min_size=1, max_size=6))
def test_positions_keep_the_order_of_values(values: list[float]) -> None:
    for inverted in (False, True):
        axis = axis_of("x", values, inverted=inverted)
        places = [axis.position(value) for value in sorted(values)]
        assert places == sorted(places, reverse=inverted)
        assert all(0 <= place <= 1 for place in places)


@pytest.mark.parametrize(
    ("values", "log"), [((1.0, 4.9), False), ((1.0, 5.0), True), ((0.0, 10.0), False), ((-1.0, 9.0), False)]
)
def test_the_axis_is_logarithmic_from_a_factor_of_five(values: tuple[float, ...], log: bool) -> None:
    assert axis_of("x", values).log is log


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis() -> None:
    axis = Axis("x", 1.0, 1000.0, log=True)
    assert [axis.position(value) for value in (1, 10, 100, 1000)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.ticks[0] == 1
    assert all(math.log10(tick / 10 ** math.floor(math.log10(tick))) < 1 for tick in axis.ticks)


def test_epochs_have_ticks_at_whole_numbers() -> None:
    axis = counted(axis_of("epoch", (1, 2, 3), margin=0.04))
    assert axis.ticks == (1, 2, 3)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.05, "0.05"), (1000.0, "1,000"), (-2.5, "−2.5"), (1e7, "1e+07"), (1e-7, "1e-07")]
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert format_tick(value) == text


def test_marks_replace_round_ticks() -> None:
    assert Axis("length", 15, 530, log=True, marks=(16.0, 512.0)).ticks == (16.0, 512.0)
