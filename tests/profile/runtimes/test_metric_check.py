from pathlib import Path

import pytest

from compress.core.record import Quantity
from compress.profile.runtimes.metric_check import MetricCheck


def quantity(value: float) -> Quantity:
    return Quantity.measured(value, "fraction")


def unused(path: Path, runtime: str) -> Quantity:
    raise AssertionError


@pytest.mark.parametrize(
    ("higher", "reference", "other", "keeps"),
    [
        (True, 0.9, 0.895, True),
        (True, 0.9, 0.88, False),
        (True, 0.9, 0.99, True),
        (False, 2.0, 2.5, False),
        (False, 2.0, 1.0, True),
    ],
)
def test_a_loss_above_the_limit_is_refused_in_the_direction_of_the_metric(
    higher: bool, reference: float, other: float, keeps: bool
) -> None:
    check = MetricCheck(unused, higher_is_better=higher)
    assert check.keeps(quantity(reference), quantity(other)) is keeps


def test_what_was_not_measured_keeps_nothing() -> None:
    missing = Quantity.missing("fraction", "it does not run")
    assert not MetricCheck(unused).keeps(quantity(0.9), missing)
    assert not MetricCheck(unused).keeps(missing, quantity(0.9))
