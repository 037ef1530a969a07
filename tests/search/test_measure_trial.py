from types import SimpleNamespace

import pytest

from compress.core.budget import Budget
from compress.core.errors import SearchError
from compress.core.fact import Fact
from compress.core.record import BenchmarkRow, Metric, Quantity
from compress.search import measure_trial as measuring
from compress.search.measure_trial import LEAST, NOT_MEASURED, higher_is_better, measure_trial

ACCURACY = Metric(name="accuracy", label="accuracy", unit="fraction", higher_is_better=True)
ERROR = Metric(name="calibration_error", label="calibration error", unit="fraction", higher_is_better=False)


def share(value, low=None, high=None):
    return Quantity.measured(value, "fraction", interval=None if low is None else (low, high), runs=100)


AFTER = {
    "accuracy": share(0.99),
    "accuracy_validation": share(0.90, 0.87, 0.92),
    "accuracy_drop": share(0.0),
    "size_bytes": Quantity.measured(2e6, "bytes"),
    "parameters": Quantity.measured(1000, "1"),
}
ROW = BenchmarkRow(
    subject="artifact",
    device="host",
    runtime="x",
    quantities={"latency_p50_ms": Quantity.measured(2.0, "ms", interval=(1.5, 2.5), runs=9),
                "memory_bytes": Quantity.measured(3e6, "bytes"), "energy_j": Quantity.missing("J", "no sensor")},
)  # fmt: skip


@pytest.fixture
def executor(monkeypatch, tmp_path):
    profile = SimpleNamespace(benchmark_rows=(ROW,), length_rows=())
    monkeypatch.setattr(measuring, "profile_of_artifact", lambda _: profile)
    last = SimpleNamespace(record=SimpleNamespace(after=AFTER), origin=SimpleNamespace(record=SimpleNamespace(warnings=())))
    task = SimpleNamespace(metric="accuracy", metrics=[SimpleNamespace(info=ACCURACY), SimpleNamespace(info=ERROR)])
    reference = SimpleNamespace(record=SimpleNamespace(after={"accuracy_validation": share(0.93)}))
    plan = SimpleNamespace(base=tmp_path, budget=None, digest="d")
    return SimpleNamespace(outputs=[last], task=task, plan=plan, baseline=lambda: reference)


def test_objectives_are_read_in_their_units_and_metrics_on_validation(executor):
    objectives = ["accuracy", "size_mb", "params", {"latency_ms": "host"}, {"memory_mb": "host"}]
    found = measure_trial(executor, objectives)
    values = {name: quantity.value for name, quantity in found.objectives.items()}
    assert values == {"accuracy": 0.90, "size_mb": 2.0, "params": 1000, "latency_ms.host": 2.0, "memory_mb.host": 3.0}
    assert found.objectives["latency_ms.host"].low == 1.5
    assert found.test.value == 0.99


@pytest.mark.parametrize(("objective", "reason"), [({"energy_j": "host"}, "no sensor"), ("macs", "no stage measured it"),
                                                   ({"latency_ms": "jetson_orin_nano"}, "was not profiled")])  # fmt: skip
def test_an_objective_that_was_not_measured_fails_the_trial(executor, objective, reason):
    with pytest.raises(SearchError, match=reason):
        measure_trial(executor, ["accuracy", objective])


def test_limits_on_metrics_are_checked_on_validation(executor):
    executor.plan.budget = Budget(accuracy_drop=0.02, size_mb=4, latency_ms={"host": 1.0})
    found = measure_trial(executor, ["accuracy"])
    assert found.distances["accuracy_drop"] == pytest.approx(0.5)
    assert found.distances["size_bytes"] == pytest.approx(-0.5)
    assert found.distances["latency_p50_ms.host"] == pytest.approx(1.0)
    assert [check.passed for check in found.checks].count(True) == 1


def test_with_intervals_a_limit_is_met_by_the_end_of_the_interval(executor):
    executor.plan.budget = Budget(accuracy=0.88, confidence="interval")
    assert measure_trial(executor, ["accuracy"]).distances["accuracy"] == pytest.approx(0.01 / 0.88)
    executor.plan.budget = Budget(accuracy=0.88)
    assert measure_trial(executor, ["accuracy"]).distances["accuracy"] < 0
    executor.plan.budget = Budget(accuracy=0.90)
    assert measure_trial(executor, ["accuracy"]).distances["accuracy"] <= LEAST


def test_a_limit_on_what_was_not_measured_is_far_away(executor):
    executor.plan.budget = Budget(power_w={"host": 5})
    assert measure_trial(executor, ["accuracy"]).distances == {"power_w.host": NOT_MEASURED}


def test_only_metrics_may_be_better_when_higher():
    assert higher_is_better("accuracy", [ACCURACY, ERROR])
    assert not higher_is_better("calibration_error", [ACCURACY, ERROR])
    assert not higher_is_better({"latency_ms": "host"}, [ACCURACY])


def test_a_network_at_chance_is_not_within_the_budget(executor):
    """As in the verdict of a run: else the search chooses what the report refuses."""
    executor.plan.budget = Budget(size_mb=4)
    assert max(measure_trial(executor, ["accuracy"]).distances.values()) <= 0
    executor.outputs[-1].origin.record.warnings = (Fact.of("pipeline.at_chance", "accuracy", value=0.1, chance=0.1),)
    found = measure_trial(executor, ["accuracy"])
    assert found.distances["accuracy"] == NOT_MEASURED
    assert not found.checks[0].passed
