"""Metrics and losses that show nothing."""

import pytest

from compress.core.budget import Budget, check_budget
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.pipeline.review.invalid_metrics import (
    NO_TEST,
    USELESS,
    losses_to_useless,
    metrics_without_test,
    without_intervals,
)
from compress.tasks.classification import Classification

METRICS = [metric.info for metric in Classification().metrics]


@pytest.mark.parametrize("code", USELESS)
def test_no_loss_of_any_metric_counts_against_a_network_that_has_learned_nothing(code: str) -> None:
    losses = losses_to_useless(METRICS, (Fact.of(code, "cat", value=0.1, chance=0.1),), "teacher", "fraction")
    assert losses.keys() == {metric.loss_name for metric in METRICS}
    assert all(loss.value is None for loss in losses.values())


def test_a_warning_without_levels_gives_a_reason_too() -> None:
    losses = losses_to_useless(METRICS, (Fact.of("pipeline.at_chance", "accuracy"),), "teacher", "fraction")
    assert "significantly better than chance; train it" in losses["accuracy_drop"].detail


def test_nothing_is_invalid_without_such_a_warning() -> None:
    warnings = (Fact.of("data.normalised_as_imagenet", ""),)
    assert losses_to_useless(METRICS, warnings, "teacher", "fraction") == {}
    assert metrics_without_test(METRICS, warnings) == {}


@pytest.mark.parametrize("code", NO_TEST)
def test_neither_metrics_nor_losses_are_measured_on_what_is_no_test(code: str) -> None:
    missing = metrics_without_test(METRICS, (Fact.of(code, "m.onnx"),))
    assert missing.keys() == {name for metric in METRICS for name in (metric.name, metric.loss_name)}
    assert {quantity.detail for quantity in missing.values()} == {NO_TEST[code]}


@pytest.mark.parametrize(("code", "more"), [("data.repeated_samples", {"distinct": 10}), ("data.samples_differ", {})])
def test_intervals_of_samples_that_are_copies_or_differ_show_no_limit(code: str, more: dict[str, int]) -> None:
    accuracy, size = Quantity.measured(0.99, "fraction", interval=(0.985, 0.994), runs=5000), Quantity.measured(5, "bytes")
    values = {"accuracy": accuracy, "size_bytes": size}
    fact = Fact.of(code, split="test", count=4990, samples=5000, **more)
    budget = Budget(accuracy=0.98, confidence="interval")
    assert check_budget(budget, metrics=values, rows=(), limited=METRICS).passed
    changed = values | without_intervals(values, METRICS, (fact,))
    (check,) = check_budget(budget, metrics=changed, rows=(), limited=METRICS).checks
    assert (check.result, check.passed, check.quantity.value) == ("not shown", False, 0.99)
    assert changed["size_bytes"] == size
    other = Fact.of(code, split="validation", count=4990, samples=5000, **more)
    assert without_intervals(values, METRICS, (other,)) == {}
