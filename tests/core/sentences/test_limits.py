"""Words of limits."""

import pytest

from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.sentences.limits import allowed_words, certainty, explain, limit_words
from compress.core.verdict import Check


def test_a_limit_names_its_device_and_arrival_pattern() -> None:
    latency = Quantity.measured(0.9, "ms", interval=(0.8, 0.95))
    check = Check(
        quantity=latency,
        passed=True,
        name="latency_cold_ms",
        label="latency",
        device="phone",
        arrival="cold",
        bound=1.0,
        unit="ms",
    )
    assert limit_words(check) == "latency on phone, cold caches"
    assert allowed_words(check) == "≤ 1 ms"
    assert explain(check) == "within the limit, with the whole interval 0.800–0.950 ms"


def test_a_limit_that_is_kept_but_not_shown_says_why_it_fails_a_strict_budget() -> None:
    loss = Quantity.measured(0.004, "fraction", interval=(-0.002, 0.013))
    check = Check(quantity=loss, passed=False, name="accuracy_drop", label="accuracy drop", bound=0.01, unit="points")
    assert "reaches across it" in explain(check)
    assert explain(check).endswith("(confidence: interval)")


def test_a_metric_without_an_interval_says_so() -> None:
    error = Quantity.measured(0.01, "fraction", "torch, test split", runs=10)
    check = Check(quantity=error, passed=False, label="calibration error", bound=0.05, unit="fraction")
    assert explain(check).startswith("within the limit, but it has no interval (10 samples or runs)")
    assert certainty(check) == "no interval"


def test_a_limit_that_nobody_set_gives_its_reason() -> None:
    reason = Fact.of("pipeline.at_chance", "accuracy", value=0.1, samples=60, chance=0.1)
    check = Check(quantity=Quantity.measured(0.1, "fraction"), passed=False, name="accuracy", label="accuracy", reason=reason)
    assert allowed_words(check) == "better than chance"
    assert "not significantly better than chance" in explain(check)
    assert check.result == "missed"


@pytest.mark.parametrize("passed", [True, False])
def test_an_older_record_keeps_its_own_words(passed: bool) -> None:
    size = Quantity.measured(1e6, "bytes")
    check = Check(quantity=size, passed=passed, limit="size bytes", allowed="≤ 1 MB", explanation="within the limit")
    assert (limit_words(check), allowed_words(check), explain(check)) == ("size bytes", "≤ 1 MB", "within the limit")
    assert check.result == ("met" if passed else "missed")
