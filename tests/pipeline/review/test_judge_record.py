"""Verdicts from records alone."""

import pytest

from compress.core.budget import Budget
from compress.core.comparable_latency import is_same_network
from compress.core.errors import RecipeError
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.sentences.limits import allowed_words, explain
from compress.core.verdict import Check, Verdict
from compress.core.warned_check import warning_of
from compress.pipeline.review.gate import own_budget
from compress.pipeline.review.invalid_metrics import NO_TEST, USELESS
from compress.pipeline.review.judge_record import judge_record, recorded_warning_checks
from tests.pipeline.review.conftest import with_shipped


def test_the_own_budget_gives_the_recorded_verdict(example: RunRecord) -> None:
    budget = own_budget(example)
    assert budget is not None
    assert example.verdict is not None
    verdict = judge_record(example, budget)
    assert verdict.passed == example.verdict.passed
    assert [check.quantity for check in verdict.checks] == [check.quantity for check in example.verdict.checks]


def test_the_loss_of_another_metric_is_the_difference_to_the_teacher(example: RunRecord) -> None:
    (check,) = judge_record(example, Budget(calibration_error_rise=0.5)).checks
    assert example.teacher is not None
    values = [example.teacher.after["calibration_error"].value, example.stages[-1].after["calibration_error"].value]
    assert check.quantity.value == pytest.approx(values[1] - values[0])


def test_a_limit_on_a_metric_that_the_task_has_not_is_refused(example: RunRecord) -> None:
    with pytest.raises(RecipeError, match="miou"):
        judge_record(example, Budget(miou_drop=0.1))


def test_a_network_that_learned_nothing_meets_no_budget(example: RunRecord) -> None:
    warning = Fact.of("pipeline.one_class_for_all", "7", samples=539)
    index = max(number for number, stage in enumerate(example.stages) if not is_same_network(stage.before, stage.after))
    stages = [
        stage.model_copy(update={"warnings": (warning,)}) if number == index else stage
        for number, stage in enumerate(example.stages)
    ]
    verdict = judge_record(example.model_copy(update={"stages": tuple(stages)}), Budget(size_mb=100.0))
    assert not verdict.passed
    assert verdict.checks[0].reason == warning


@pytest.mark.parametrize("code", USELESS)
def test_a_loss_against_a_teacher_that_learned_nothing_meets_no_limit(example: RunRecord, code: str) -> None:
    assert example.teacher is not None
    budget = Budget(accuracy_drop=0.5)
    assert judge_record(example, budget).passed
    warnings = (Fact.of(code, "accuracy", value=0.1, chance=0.1, samples=539),)
    useless = example.model_copy(update={"teacher": example.teacher.model_copy(update={"warnings": warnings})})
    verdict = judge_record(useless, budget)
    assert not verdict.passed
    assert "(teacher) has learned nothing" in verdict.checks[0].quantity.detail
    (check,) = judge_record(useless, Budget(calibration_error_rise=0.9)).checks
    assert not check.passed
    assert check.quantity.value is None


@pytest.mark.parametrize(("code", "passed"), [("pipeline.at_chance", False), ("data.normalised_as_imagenet", True)])
def test_a_loss_against_an_earlier_stage_that_learned_nothing_meets_no_limit(
    example: RunRecord, code: str, passed: bool
) -> None:
    first = example.stages[0].model_copy(update={"warnings": (Fact.of(code, "accuracy", value=0.1, chance=0.1, samples=539),)})
    loss = Quantity.measured(0.0, "fraction", f"against the network after {first.name}, same 539 test samples")
    older = {"teacher": None, "verdict": None, "reference": "", "stages": (first, *example.stages[1:])}
    record = example.model_copy(update=older)  # records without the field name the reference in the detail alone
    verdict = judge_record(with_shipped(record, accuracy_drop=loss), Budget(accuracy_drop=0.5))
    assert verdict.passed is passed


def test_the_reference_is_a_field_whatever_the_language_of_the_run(example: RunRecord) -> None:
    first = example.stages[0].model_copy(
        update={"warnings": (Fact.of("pipeline.at_chance", "accuracy", value=0.1, chance=0.1),)}
    )
    loss = Quantity.measured(0.0, "fraction", "相对于 the network after distill，相同的 539 个 test 样本")
    updates = {"teacher": None, "verdict": None, "stages": (first, *example.stages[1:]), "reference": first.name}
    record = with_shipped(example.model_copy(update=updates), accuracy_drop=loss)
    assert not judge_record(record, Budget(accuracy_drop=0.5)).passed


@pytest.mark.parametrize("code", NO_TEST)
def test_metrics_on_noise_or_on_the_training_samples_meet_no_limit(example: RunRecord, code: str) -> None:
    record = example.model_copy(update={"warnings": (Fact.of(code, "m.onnx", sizes="", count=1),)})
    for budget in (Budget(accuracy=0.1), Budget(accuracy_drop=0.5), Budget(calibration_error=0.9)):
        (check,) = judge_record(record, budget).checks
        assert not check.passed
        assert check.quantity.detail == NO_TEST[code]
    assert judge_record(record, Budget(size_mb=100.0)).passed


def test_a_loss_that_the_verdict_of_the_run_could_not_measure_meets_no_limit(example: RunRecord) -> None:
    missing = Check(
        quantity=Quantity.missing("fraction", "at chance"), passed=False, name="accuracy_drop", label="accuracy", bound=0.5
    )
    record = example.model_copy(update={"verdict": Verdict(passed=False, checks=(missing,))})
    assert judge_record(record, Budget(accuracy_drop=0.5)).checks[0].quantity == missing.quantity


def test_rows_of_a_network_that_a_later_stage_changed_do_not_count(example: RunRecord) -> None:
    quantize = next(stage for stage in example.stages if stage.name == "quantize")
    verdict = judge_record(
        example.model_copy(update={"stages": (*example.stages, quantize)}), Budget(latency_ms={"host": 10.0})
    )
    assert "was not profiled" in verdict.checks[0].quantity.detail


def _warned(example: RunRecord, warning: Fact) -> RunRecord:
    """The run with a warning on the stage that made what ships."""
    index = max(number for number, stage in enumerate(example.stages) if not is_same_network(stage.before, stage.after))
    stages = [
        stage.model_copy(update={"warnings": (warning,)}) if number == index else stage
        for number, stage in enumerate(example.stages)
    ]
    return example.model_copy(update={"stages": tuple(stages)})


def test_a_value_no_better_than_a_constant_fails_every_budget_and_is_named(example: RunRecord) -> None:
    error = Quantity.measured(0.026, "1", interval=(0.024, 0.028), runs=200)
    check = Check(quantity=error, passed=False, name="rmse_width", label="RMSE of width")
    warning = warning_of("tasks.value_at_constant", "width", check, metric="RMSE", constant=0.01)
    for budget in (Budget(size_mb=100.0), Budget(accuracy_drop=0.5)):
        verdict = judge_record(_warned(example, warning), budget)
        assert not verdict.passed
        assert [each.label for each in verdict.checks if not each.passed] == ["RMSE of width"]
    assert recorded_warning_checks(_warned(example, warning))[0].quantity == error
    assert allowed_words(verdict.checks[0]) == "better than a constant"
    assert explain(verdict.checks[0]).endswith(
        "that of the best such answer 0.01, on 200 test samples; this fails every budget"
    )


@pytest.mark.parametrize(
    ("budget", "passed"),
    [
        (Budget(size_mb=100.0), True),
        (Budget(accuracy_drop=0.5), False),
        (Budget(calibration_error=0.5), True),
        (Budget(calibration_error_rise=0.5), False),
        (Budget(calibration_error=0.5, accuracy=0.1), True),
    ],
)
def test_a_rate_that_a_budget_can_limit_counts_where_it_limits_metrics_but_not_this_one(
    example: RunRecord, budget: Budget, passed: bool
) -> None:
    rate = Quantity.measured(0.2, "fraction", interval=(0.15, 0.26), runs=120)
    name = "calibration_error"  # a metric of the example
    check = Check(quantity=rate, passed=False, name=name, label="calibration error", bound=0.05, unit="fraction")
    record = _warned(example, warning_of("tasks.false_alarms_over_rate", name, check))
    verdict = judge_record(record, budget)
    assert verdict.passed is passed
    assert [(each.name, each.bound) for each in verdict.checks if not each.passed] == [(name, 0.05)] * (not passed)
    assert recorded_warning_checks(record) == ()
