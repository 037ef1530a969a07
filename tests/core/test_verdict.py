"""Results of limits."""

import pytest

from compress.core.record import Quantity
from compress.core.verdict import Check, Verdict


def check(
    value: float | None, *, low: float | None = None, high: float | None = None, lower: bool = False, how: str = "measured"
):
    quantity = Quantity.model_validate({"value": value, "unit": "ms", "how": how, "low": low, "high": high})
    return Check(quantity=quantity, passed=True, label="latency", bound=1.0, unit="ms", is_lower_bound=lower)


@pytest.mark.parametrize(
    ("limit", "result"),
    [
        (check(0.9), "met"),
        (check(0.9, low=0.8, high=1.0), "met"),
        (check(0.9, low=0.8, high=1.1), "not shown"),
        (check(0.9, low=0.8, high=0.95, how="estimated"), "not shown"),
        (check(1.1, low=0.9, high=1.2), "missed"),
        (check(None, how="not measured"), "missed"),
        (check(1.1, lower=True), "met"),
        (check(1.1, low=0.9, high=1.2, lower=True), "not shown"),
        (check(0.9, lower=True), "missed"),
    ],
)
def test_a_limit_is_met_not_shown_or_missed(limit: Check, result: str) -> None:
    assert limit.result == result


@pytest.mark.parametrize(
    ("unit", "runs", "interval", "result"),
    [
        ("fraction", 10, None, "not shown"),
        ("ms", 3, None, "not shown"),
        ("fraction", 10, (0.2, 0.4), "met"),
        ("bytes", None, None, "met"),
        ("bytes", 3, None, "met"),
        ("MAC", 1, None, "met"),
    ],
)
def test_a_sampled_value_without_an_interval_shows_nothing_and_an_exact_one_does(
    unit: str, runs: int | None, interval: tuple[float, float] | None, result: str
) -> None:
    quantity = Quantity.measured(0.3, unit, interval=interval, runs=runs)
    limit = Check(quantity=quantity, passed=True, label="value", bound=1.0, unit=unit)
    assert limit.result == result
    assert limit.lacks_interval is (result == "not shown")


def test_a_verdict_is_as_good_as_its_worst_limit() -> None:
    met, unsure, missed = check(0.9), check(0.9, low=0.8, high=1.1), check(1.1)
    assert Verdict(passed=True, checks=(met,)).result == "met"
    assert Verdict(passed=True, checks=(met, unsure)).result == "not shown"
    assert Verdict(passed=False, checks=(unsure, missed, met)).result == "missed"


def test_a_verdict_reads_back_what_it_wrote() -> None:
    verdict = Verdict(passed=True, checks=(check(0.9, low=0.8, high=1.1),))
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
