import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.format_quantity import (
    format_change,
    format_duration,
    format_interval,
    format_value,
    format_with_provenance,
)
from compress.core.record import Quantity

PREFIX = {"k": 1e3, "M": 1e6, "G": 1e9}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (523_000, "bytes", "0.523 MB"),
        (94.3e6, "bytes", "94.3 MB"),
        (81_234, "bytes", "81.2 kB"),
        (512, "bytes", "512 B"),
        (2_236_682, "1", "2.24 M"),
        (62, "1", "62"),
        (1797, "1", "1,797"),
        (61.3e6, "MAC", "61.3 M MAC"),
        (0.97413, "fraction", "97.41 %"),
        (-0.004, "points", "−0.40 points"),
        (0.00213, "ms", "0.00213 ms"),
        (0, "ms", "0 ms"),
        (-1e-9, "points", "0.00 points"),
    ],
)
def test_amounts_read_well(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@given(st.floats(1, 1e12), st.sampled_from(["bytes", "MAC", "1", "ms"]))
def test_an_amount_read_back_is_within_its_last_digit(value: float, unit: str) -> None:
    number, *rest = format_value(value, unit).replace(",", "").split()
    prefix = rest[0].removesuffix("B") if rest else ""
    assert float(number) * PREFIX.get(prefix, 1.0) == pytest.approx(value, rel=6e-3, abs=0.51 if unit == "bytes" else 0)


@given(st.floats(1e-3, 1e6), st.floats(0.002, 0.9))
def test_ends_of_an_interval_are_told_apart(middle: float, relative: float) -> None:
    text = format_interval(Quantity.measured(middle, "ms", interval=(middle * (1 - relative), middle * (1 + relative))))
    low, high = (float(end.replace(",", "")) for end in text.removesuffix(" ms").split("–"))
    assert low < high
    assert high == pytest.approx(middle * (1 + relative), rel=1.1e-2)


@given(
    st.floats(1e-4, 1e7), st.floats(1, 100), st.floats(1, 100),
    st.sampled_from(["ms", "bytes", "1", "MAC", "J", "fraction", "points"]),
)  # fmt: skip
def test_the_interval_shown_contains_the_value_shown(value: float, below: float, above: float, unit: str) -> None:
    quantity = Quantity.measured(value, "fraction" if unit == "points" else unit, interval=(value / below, value * above))

    def number(text: str) -> float:
        digits, *rest = text.replace(",", "").split()
        return float(digits) * PREFIX.get(rest[0].removesuffix("B") if rest else "", 1.0)

    shown = number(format_value(value, unit))
    low, _, high = format_interval(quantity, unit).partition("–")
    suffix = high.partition(" ")[2]
    assert number(f"{low} {suffix}") <= shown * (1 + 1e-12)
    assert shown <= number(high) * (1 + 1e-12)
    assert number(f"{low} {suffix}") <= number(high)


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.177, 0.158, 12.6, "0.15–12.6 ms"),
        (0.156, 0.14, 1.05, "0.14–1.05 ms"),
        (0.612, 0.608, 0.615, "0.608–0.615 ms"),
        (97.0, 96.96, 97.04, "96.96–97.04 ms"),
        (1.0, 1.0, 1.0, "1.00–1.00 ms"),
    ],
)
def test_ends_are_rounded_outwards(value: float, low: float, high: float, text: str) -> None:
    assert format_interval(Quantity.measured(value, "ms", interval=(low, high))) == text


@pytest.mark.parametrize(
    ("before", "after", "unit", "text"),
    [
        (0.98, 0.97, "fraction", "−1.00 points"),
        (0.97, 0.98, "fraction", "+1.00 points"),
        (100.0, 50.0, "ms", "−50.0 %"),
        (100.0, 2.0, "ms", "÷ 50.0"),
        (2.0, 100.0, "ms", "× 50.0"),
        (3.0, 3.0, "ms", "="),
        (0.58131, 0.58113, "1", "−0.03 %"),
        (100.0, 100.02, "ms", "+0.02 %"),
        (0.97, 0.97003, "fraction", "+0.003 points"),
        (3.0, 3.0 - 1e-9, "ms", "≈ 0 %"),
    ],
)
def test_changes_read_well(before: float, after: float, unit: str, text: str) -> None:
    assert format_change(Quantity.measured(before, unit), Quantity.measured(after, unit)) == text


def test_no_change_is_told_where_one_side_is_missing() -> None:
    known = Quantity.measured(1.0, "ms")
    assert (
        format_change(Quantity.missing("ms", "no sensor"), known)
        == format_change(known, None)
        == format_change(None, known)
        == ""
    )


def test_a_full_figure_says_how_it_came_to_be() -> None:
    assert format_with_provenance(Quantity.missing("W", "no sensor")) == "○ not measured"
    assert (
        format_with_provenance(Quantity.estimated(12.0, "ms", "roofline", band=(6.0, 24.0)))
        == "12.0 ms (6.0–24.0 ms) ◐ estimated"
    )


@pytest.mark.parametrize(("seconds", "text"), [(4.12, "4.1 s"), (59.99, "60.0 s"), (200, "3 min 20 s"), (3725, "1 h 02 min")])
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
