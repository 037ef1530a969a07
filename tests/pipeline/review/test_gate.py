"""The gate."""

import pytest

from compress.core.budget import Budget
from compress.core.errors import StoreError
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.review.gate import gate
from tests.pipeline.review.conftest import with_shipped


def test_the_committed_run_passes_its_own_budget_and_is_no_worse_than_itself(example: RunRecord) -> None:
    result = gate(example, None, example)
    assert result.passed
    assert {finding.kind for finding in result.findings} == {"limit", "baseline"}


def test_a_missed_limit_is_a_breach_with_a_stable_code(example: RunRecord) -> None:
    result = gate(example, Budget(size_mb=0.01, latency_ms={"host": 100.0}))
    assert [finding.code for finding in result.breaches] == ["limit/size_bytes"]
    assert [finding.code for finding in result.findings] == ["limit/size_bytes", "limit/latency_p50_ms/host"]


def test_what_got_worse_beyond_its_interval_is_a_breach(example: RunRecord) -> None:
    worse = with_shipped(example, accuracy=Quantity.measured(0.9, "fraction", interval=(0.87, 0.92)))
    result = gate(worse, Budget(size_mb=1.0), example)
    assert [finding.code for finding in result.breaches] == ["baseline/accuracy"]
    assert gate(example, Budget(size_mb=1.0), worse).passed


def test_a_gate_needs_something_to_judge_by(example: RunRecord) -> None:
    bare = example.model_copy(update={"recipe": {**example.recipe, "budget": None}})
    with pytest.raises(StoreError, match="--budget"):
        gate(bare, None)
    assert gate(bare, None, example).passed


def test_a_run_of_toy_size_is_not_judged(example: RunRecord) -> None:
    with pytest.raises(StoreError, match="--smoke"):
        gate(example.model_copy(update={"smoke": True}), Budget(size_mb=1.0))
    with pytest.raises(StoreError, match="--smoke"):
        gate(example, Budget(size_mb=1.0), example.model_copy(update={"smoke": True}))


def test_a_metric_that_cannot_be_compared_is_a_breach(example: RunRecord) -> None:
    other_data = example.model_copy(update={"data": {**example.data, "test": 0.1}})
    assert "baseline/accuracy" in [finding.code for finding in gate(example, None, other_data).breaches]
    assert example.metric is not None
    metric = example.metric.model_copy(update={"name": "miou", "label": "mean IoU"})
    other_task = example.model_copy(update={"metric": metric, "further_metrics": ()})
    breaches = gate(other_task, Budget(size_mb=1.0), example).breaches
    assert [finding.code for finding in breaches] == ["baseline/miou"]


def test_a_figure_that_the_run_lacks_is_a_breach_and_one_that_is_new_is_none(example: RunRecord) -> None:
    last = example.stages[-1]
    rows = tuple(row for row in last.benchmark_rows if row.device != "mobile_cpu")
    shorter = example.model_copy(update={"stages": (*example.stages[:-1], last.model_copy(update={"benchmark_rows": rows}))})
    assert [finding.code for finding in gate(shorter, None, example).breaches] == ["baseline/latency_p50_ms/mobile_cpu"]
    assert gate(example, None, shorter).passed


def test_times_of_other_hardware_are_no_breach(example: RunRecord) -> None:
    other = example.model_copy(update={"environment": {**example.environment, "processor": "another machine"}})
    result = gate(example, None, other)
    assert result.passed
    assert "not comparable" in {finding.result for finding in result.findings}


def test_a_metric_that_neither_run_has_is_no_breach_unless_it_decides(example: RunRecord) -> None:
    without = with_shipped(example)
    last = without.stages[-1]

    def dropped(name: str) -> RunRecord:
        after = {key: value for key, value in last.after.items() if key != name}
        return without.model_copy(update={"stages": (*without.stages[:-1], last.model_copy(update={"after": after}))})

    few_classes, unmeasured = dropped("accuracy_top5"), dropped("accuracy")
    assert gate(few_classes, None, few_classes).passed
    assert "baseline/accuracy" in [finding.code for finding in gate(unmeasured, None, unmeasured).breaches]
    assert "baseline/accuracy_top5" in [finding.code for finding in gate(few_classes, None, example).breaches]


def test_runs_with_other_classes_or_other_test_loaders_do_not_compare(example: RunRecord) -> None:
    renamed = example.spec.model_copy(update={"classes": tuple(reversed(example.spec.classes))})
    loaders = [example.model_copy(update={"data": {"source": "python", "fingerprints": ["a", "b", end]}}) for end in "cd"]
    for run, baseline in ((example.model_copy(update={"spec": renamed}), example), tuple(loaders)):
        assert "baseline/accuracy" in [finding.code for finding in gate(run, None, baseline).breaches]


def test_a_network_that_learned_nothing_is_a_breach_without_a_budget(example: RunRecord) -> None:
    warning = Fact.of("pipeline.at_chance", "accuracy", value=0.1, chance=0.1, samples=539)
    stages = tuple(stage.model_copy(update={"warnings": (warning,)}) for stage in example.stages)
    bare = example.model_copy(update={"recipe": {**example.recipe, "budget": None}, "stages": stages})
    assert [finding.code for finding in gate(bare, None, bare).breaches] == ["limit/accuracy"]
