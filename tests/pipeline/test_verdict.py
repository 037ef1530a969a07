"""The verdict on a run: which network and which reference it is about."""

import dataclasses
import json
from pathlib import Path

import pytest

from compress.core.budget import Budget
from compress.core.fact import Fact
from compress.core.network_spec import image_spec
from compress.core.record import BenchmarkRow, Quantity, StageRecord
from compress.core.sentences import render
from compress.core.sentences.limits import allowed_words, limit_words
from compress.core.verdict import Check
from compress.core.warned_check import warning_of
from compress.pipeline.review.invalid_metrics import NO_TEST, USELESS
from compress.pipeline.stage_output import StageOutput
from compress.pipeline.verdict import is_chance, reach_verdict
from compress.tasks.classification import ACCURACY, Classification

SPEC = image_spec(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,), classes=tuple("abcdefghij"))
TASK = Classification()
ROW = BenchmarkRow(
    subject="artifact", device="host", runtime="onnxruntime", quantities={"latency_p50_ms": Quantity.measured(0.1, "ms")}
)


def chain(
    folder: Path, *names: str, accuracy: float = 0.9, warned: str = "", code: str = "pipeline.one_class_for_all"
) -> list[StageOutput]:
    """Outputs of stages, of which all but `profile` and `export` changed the network."""
    outputs: list[StageOutput] = []
    for index, name in enumerate(names):
        (folder / name).mkdir()
        manifest = {"form": "torch", "same": name in ("profile", "export"), "files": {}, "spec": SPEC.model_dump(mode="json")}
        (folder / name / "candidate.json").write_text(json.dumps(manifest))
        after = {
            "accuracy": Quantity.measured(accuracy, "fraction", interval=(accuracy - 0.05, accuracy + 0.05)),
            "accuracy_drop": Quantity.measured(0.0, "fraction"),
            "calibration_error": Quantity.measured(0.02 + 0.01 * index, "fraction"),
        }
        record = StageRecord(
            index=index, name=name, key=name, parent_key="", form="torch", parameters={}, before={}, after=after, seed=0,
            versions={}, started="x", wall_time_s=0.0, benchmark_rows=(ROW,) if name == "profile" else (),
            warnings=(Fact.of(code, "b", samples=100, value=0.1, chance=0.1),) if name == warned else (),
        )  # fmt: skip
        outputs.append(StageOutput(record, folder / name, NotImplemented, outputs[-1] if outputs else None))
    return outputs


@pytest.mark.parametrize(
    ("names", "passed"),
    [
        (("start", "train", "quantize", "profile"), True),
        (("start", "train", "quantize", "profile", "export"), True),
        (("start", "train", "profile", "quantize"), False),
        (("start", "train", "quantize"), False),
    ],
)
def test_a_limit_on_a_device_is_checked_on_the_network_that_ships(tmp_path, names, passed):
    verdict = reach_verdict(Budget(latency_ms={"host": 1.0}), chain(tmp_path, *names), reference=None, task=TASK)
    assert verdict.passed == passed
    assert passed or "not profiled" in verdict.checks[0].quantity.detail


@pytest.mark.parametrize(("accuracy", "passed"), [(0.9, True), (0.12, False), (0.05, False)])
def test_a_drop_against_a_network_no_better_than_chance_does_not_pass(tmp_path, accuracy, passed):
    outputs = chain(tmp_path, "start", "train", "quantize", accuracy=accuracy)
    (check,) = reach_verdict(Budget(accuracy_drop=0.01), outputs, reference=outputs[1], task=TASK).checks
    assert check.passed == passed
    assert passed or "better than chance" in check.quantity.detail


@pytest.mark.parametrize("budget", [Budget(accuracy_drop=0.01), Budget(accuracy=0.8)])
@pytest.mark.parametrize(("warned", "passed"), [("quantize", False), ("", True)])
def test_a_network_that_gives_one_class_to_all_samples_does_not_pass(tmp_path, budget, warned, passed):
    outputs = chain(tmp_path, "start", "train", "quantize", "export", warned=warned)
    (check,) = reach_verdict(budget, outputs, reference=outputs[1], task=TASK).checks
    assert check.passed == passed
    assert passed or "the class 'b' for all test samples" in check.quantity.detail


@pytest.mark.parametrize(("limit", "passed"), [(0.025, True), (0.015, False)])
def test_the_loss_of_a_metric_that_does_not_decide_is_that_of_its_values(tmp_path, limit, passed):
    outputs = chain(tmp_path, "start", "train", "prune", "quantize")
    budget = Budget(accuracy_drop=0.01, calibration_error_rise=limit)
    (_, check) = reach_verdict(budget, outputs, reference=outputs[1], task=TASK).checks
    assert check.name == "calibration_error_rise"
    assert check.quantity.value == pytest.approx(0.02)
    assert check.passed == passed
    assert allowed_words(check) == f"≤ {100 * limit:g} points"


def test_a_budget_without_a_limit_on_the_metric_says_so(tmp_path):
    outputs = chain(tmp_path, "start", "train", "quantize", "profile")
    limited, unlimited = (
        reach_verdict(budget, outputs, reference=outputs[1], task=TASK)
        for budget in (Budget(latency_ms={"host": 1.0}, accuracy_drop=0.01), Budget(latency_ms={"host": 1.0}))
    )
    assert (limited.passed, limited.notes) == (True, ())
    assert unlimited.passed
    (note,) = unlimited.notes
    assert "sets no limit on the accuracy" in render(note)
    assert "set accuracy_drop or accuracy" in render(note)


@pytest.mark.parametrize("code", ["pipeline.one_class_for_all", "pipeline.at_chance", "pipeline.input_not_used"])
@pytest.mark.parametrize(("warned", "passed"), [("quantize", False), ("train", True)])
def test_a_useless_network_fails_a_budget_that_limits_no_metric(tmp_path, code, warned, passed):
    outputs = chain(tmp_path, "start", "train", "quantize", "profile", warned=warned, code=code)
    verdict = reach_verdict(Budget(latency_ms={"host": 1.0}), outputs, reference=outputs[1], task=TASK)
    assert verdict.passed == passed
    assert [limit_words(check) for check in verdict.checks if not check.passed] == ["accuracy"] * (not passed)


def test_a_network_at_chance_meets_no_limit_on_its_metric(tmp_path):
    outputs = chain(tmp_path, "start", "train", "quantize", warned="quantize", code="pipeline.at_chance")
    verdict = reach_verdict(Budget(accuracy=0.5), outputs, reference=outputs[1], task=TASK)
    assert not verdict.passed
    assert [check.passed for check in verdict.checks] == [False, True]


@pytest.mark.parametrize(
    ("higher_is_better", "interval", "expected"),
    [(True, (0.08, 0.2), True), (True, (0.11, 0.2), False), (False, (0.05, 0.2), True), (False, (0.05, 0.09), False)],
)
def test_chance_is_what_the_worse_end_of_the_interval_does_not_beat(higher_is_better, interval, expected):
    metric = ACCURACY.model_copy(update={"higher_is_better": higher_is_better})
    assert is_chance(Quantity.measured(0.1, "fraction", interval=interval), 0.1, metric) is expected


@pytest.mark.parametrize("budget", [Budget(latency_ms={"host": 1.0}), Budget(accuracy_drop=0.01), Budget(accuracy=0.99)])
def test_a_value_no_better_than_a_constant_does_not_pass(tmp_path, budget):
    outputs = chain(tmp_path, "start", "train", "quantize", "profile")
    check = Check(quantity=Quantity.measured(0.02, "1"), passed=False, name="rmse_width", label="RMSE of width")
    warning = warning_of("tasks.value_at_constant", "width", check, metric="RMSE", constant=0.01)
    record = outputs[2].record.model_copy(update={"warnings": (warning,)})
    outputs[2] = dataclasses.replace(outputs[2], record=record)
    outputs[3] = dataclasses.replace(outputs[3], previous=outputs[2])
    verdict = reach_verdict(budget, outputs, reference=outputs[1], task=TASK)
    assert not verdict.passed
    assert verdict.checks[0].label == "RMSE of width"


@pytest.mark.parametrize("code", USELESS)
@pytest.mark.parametrize("limits", [{"accuracy_drop": 0.01}, {"accuracy": 0.5, "calibration_error_rise": 0.5}])
def test_no_loss_against_a_reference_that_has_learned_nothing_is_measured(tmp_path, code, limits):
    outputs = chain(tmp_path, "start", "train", "quantize", warned="train", code=code)
    checks = reach_verdict(Budget(**limits), outputs, reference=outputs[1], task=TASK).checks
    check = next(check for check in checks if check.name.endswith(("_drop", "_rise")))
    assert not check.passed
    assert "the reference (train) has learned nothing: it " in check.quantity.detail


@pytest.mark.parametrize("code", NO_TEST)
def test_metrics_on_noise_or_on_the_training_samples_meet_no_limit(tmp_path, code):
    outputs = chain(tmp_path, "start", "quantize", warned="start", code=code)
    for budget, passed in ((Budget(accuracy=0.1), False), (Budget(accuracy_drop=0.5), False), (Budget(size_mb=1.0), False)):
        verdict = reach_verdict(budget, outputs, reference=None, task=TASK)
        assert verdict.passed is passed
        assert (verdict.checks[0].quantity.detail == NO_TEST[code]) is bool(budget.limits)
