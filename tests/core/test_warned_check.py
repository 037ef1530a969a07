"""Missed checks as warnings."""

import pytest

from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.verdict import Check
from compress.core.warned_check import check_of, warning_of


@pytest.mark.parametrize(
    "quantity",
    [
        Quantity.measured(0.2, "fraction", "test split", interval=(0.15, 0.26), runs=120),
        Quantity.missing("fraction", "no good part"),
    ],
)
@pytest.mark.parametrize("bound", [0.05, None])
def test_a_check_is_read_back_from_the_warning_in_a_record(quantity: Quantity, bound: float | None) -> None:
    unit = "fraction"
    check = Check(quantity=quantity, passed=False, name="false_alarm_rate", label="false alarm rate", bound=bound, unit=unit)
    warning = warning_of("tasks.false_alarms_over_rate", "false_alarm_rate", check, more=1)
    read = Fact.model_validate_json(warning.model_dump_json())
    assert read.values["more"] == 1
    assert check_of(read) == check.model_copy(update={"reason": read})
    assert check_of(read).result == "missed"


def test_other_warnings_carry_no_check() -> None:
    assert check_of(Fact.of("pipeline.at_chance", "accuracy", value=0.1, chance=0.1, samples=9)) is None
