"""Differences of two runs."""

import numpy as np
import pytest

from compress.core.record import Quantity
from compress.pipeline.review.difference import difference


def value(number: float, low: float, high: float) -> Quantity:
    return Quantity.measured(number, "ms", interval=(low, high))


def test_symmetric_intervals_give_the_usual_interval_of_a_difference() -> None:
    """For ±1.96 s₁ and ±1.96 s₂ it is ±1.96 √(s₁² + s₂²)."""
    change = difference(value(10.0, 7.0, 13.0), value(20.0, 16.0, 24.0), higher_is_better=False)
    assert (change.quantity.value, change.quantity.low, change.quantity.high) == pytest.approx((10.0, 5.0, 15.0))
    assert change.direction == "worse"


def test_the_interval_of_two_proportions_covers_the_true_difference_in_95_of_100() -> None:
    """Against simulation: the interval is built from Wilson intervals, as Newcombe's method 10 is."""
    from compress.core.statistics import wilson

    generator = np.random.default_rng(0)
    first, second, samples = 0.9, 0.85, 300
    covered = 0
    for _ in range(1000):
        quantities = []
        for truth in (first, second):
            hits = int(generator.binomial(samples, truth))
            quantities.append(Quantity.measured(hits / samples, "fraction", interval=wilson(hits, samples)))
        low, high = (getattr(difference(*quantities, higher_is_better=True).quantity, end) for end in ("low", "high"))
        covered += low <= second - first <= high
    assert 930 <= covered <= 970


@pytest.mark.parametrize(
    ("higher_is_better", "second", "direction"),
    [(True, 0.95, "better"), (True, 0.85, "worse"), (False, 0.95, "worse"), (True, 0.901, "no difference shown")],
)
def test_what_a_difference_shows_follows_the_direction_of_the_quantity(higher_is_better, second, direction) -> None:
    first = Quantity.measured(0.9, "fraction", interval=(0.89, 0.91))
    other = Quantity.measured(second, "fraction", interval=(second - 0.01, second + 0.01))
    assert difference(first, other, higher_is_better=higher_is_better).direction == direction


@pytest.mark.parametrize(("second", "direction"), [(1005.0, "equal"), (1011.0, "worse"), (980.0, "better")])
def test_values_without_intervals_differ_from_one_per_cent_on(second: float, direction: str) -> None:
    size = Quantity.measured(1000.0, "bytes")
    assert difference(size, Quantity.measured(second, "bytes"), higher_is_better=False).direction == direction


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (None, value(1.0, 0.9, 1.1), "the baseline did not record it"),
        (value(1.0, 0.9, 1.1), Quantity.missing("ms", "no device"), "no device"),
        (
            value(1.0, 0.9, 1.1),
            Quantity.estimated(1.0, "ms", "roofline", band=(0.5, 2.0)),
            "measured in the baseline and estimated",
        ),
        (value(1.0, 0.9, 1.1), Quantity.measured(1.0, "W"), "different units"),
    ],
)
def test_what_cannot_be_compared_says_why(first, second, reason) -> None:
    change = difference(first, second, higher_is_better=False)
    assert change.direction == "not comparable"
    assert reason in change.quantity.detail
