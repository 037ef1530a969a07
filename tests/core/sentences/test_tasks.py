"""Sentences of tasks."""

from compress.core.record import Quantity
from compress.core.sentences import render
from compress.core.verdict import Check
from compress.core.warned_check import warning_of


def test_a_rate_of_false_alarms_is_in_per_cent() -> None:
    rate = Quantity.measured(0.25, "fraction", interval=(0.18113, 0.33441), runs=120)
    check = Check(quantity=rate, passed=False, name="false_alarm_rate", label="false alarm rate", bound=0.05, unit="fraction")
    assert render(warning_of("tasks.false_alarms_over_rate", "false_alarm_rate", check)) == (
        "more false alarms than the threshold was chosen for: 25.00 % of 120 good test samples (95 % interval 18.11–33.44 %), "
        "chosen for 5.00 %"
    )


def test_a_value_without_an_error_gives_the_reason() -> None:
    check = Check(quantity=Quantity.missing("1", "an output is not finite"), passed=False, name="rmse_a", label="RMSE of a")
    alone = Check(quantity=Quantity.measured(1.5, "1", runs=4), passed=False, name="rmse_a", label="RMSE of a")
    assert "its RMSE is 1.5, that of" in render(warning_of("tasks.value_at_constant", "a", alone, metric="RMSE", constant=1.0))
    assert render(warning_of("tasks.value_at_constant", "a", check, metric="RMSE", constant=1.0)) == (
        "the value 'a' has no error on the test samples: an output is not finite"
    )
