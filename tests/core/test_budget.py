import subprocess
import sys

import pytest
from pydantic import ValidationError

from compress.core.budget import Budget, check_budget
from compress.core.record import BenchmarkRow, LengthRow, Metric, Metrics, Quantity
from compress.core.sentences.limits import ARRIVAL_WORDS, allowed_words, explain, limit_words
from compress.core.verdict import Check
from compress.tasks.classification import ACCURACY


def subject(device: str, *, of: str = "artifact", **quantities: Quantity) -> BenchmarkRow:
    return BenchmarkRow(subject=of, device=device, runtime="test", quantities=quantities)


def ms(value: float, *, interval: tuple[float, float] | None = None) -> Quantity:
    return Quantity.measured(value, "ms", "here", interval=interval)


def only(budget: Budget, final: Metrics | None = None, *subjects: BenchmarkRow) -> Check:
    verdict = check_budget(budget, metrics=final or {}, rows=subjects, limited=(ACCURACY,))
    (check,) = verdict.checks
    assert verdict.passed == check.passed
    return check


@pytest.mark.parametrize(("lost", "passed"), [(-0.02, True), (0.0, True), (0.01, True), (0.0101, False)])
def test_accuracy_drop_is_a_ceiling_in_points(lost: float, passed: bool) -> None:
    check = only(Budget(accuracy_drop=0.01), {"accuracy_drop": Quantity.measured(lost, "fraction")})
    assert check.passed is passed
    assert allowed_words(check) == "≤ 1 point"


PERPLEXITY = Metric(name="perplexity", label="perplexity", unit="1", higher_is_better=False)


@pytest.mark.parametrize(
    ("limits", "passed", "allowed"),
    [
        ({"perplexity": 21}, True, "≤ 21"),
        ({"perplexity": 20}, False, "≤ 20"),
        ({"perplexity_rise": 0.6}, True, "≤ 0.6"),
        ({"perplexity_rise": 0.4}, False, "≤ 0.4"),
    ],
)
def test_a_metric_that_is_better_when_lower_has_a_ceiling_in_its_own_unit(limits, passed, allowed) -> None:
    values = {"perplexity": Quantity.measured(20.5, "1"), "perplexity_rise": Quantity.measured(0.5, "1")}
    verdict = check_budget(Budget(**limits), metrics=values, rows=(), limited=(ACCURACY, PERPLEXITY))
    assert (verdict.passed, allowed_words(verdict.checks[0])) == (passed, allowed)
    assert "point" not in explain(verdict.checks[0])


def test_a_limit_on_a_metric_that_no_task_has_does_not_pass() -> None:
    check = only(Budget(speed=3), {"speed": Quantity.measured(1.0, "1")})
    assert "no metric of the task is called speed" in explain(check)


@pytest.mark.parametrize(("arrival", "passed"), [("back_to_back", True), ("periodic", False), ("cold", False)])
def test_a_latency_limit_is_for_the_arrival_pattern_of_the_profile(arrival: str, passed: bool) -> None:
    row = subject("pi", latency_p50_ms=ms(0.2), latency_periodic_ms=ms(1.2)).model_copy(update={"arrival": arrival})
    check = only(Budget(latency_ms={"pi": 1.0}), {}, row)
    assert check.passed is passed
    assert limit_words(check) == f"latency on pi, {ARRIVAL_WORDS[arrival]}"
    assert check.name == row.latency_name


def test_limits_are_not_passed_on_other_hardware_than_the_profile_describes() -> None:
    row = subject("pi", latency_p50_ms=ms(0.1)).model_copy(update={"other_hardware": "Intel Xeon"})
    check = only(Budget(latency_ms={"pi": 1.0}), {}, row)
    assert not check.passed
    assert "Intel Xeon was measured, and the profile 'pi' describes other hardware" in explain(check)


@pytest.mark.parametrize(("accuracy", "passed"), [(0.969, False), (0.97, True), (0.99, True)])
def test_accuracy_is_a_floor(accuracy: float, passed: bool) -> None:
    check = only(Budget(accuracy=0.97), {"accuracy": Quantity.measured(accuracy, "fraction")})
    assert check.passed is passed
    assert allowed_words(check) == "≥ 97 %"


@pytest.mark.parametrize(("size_bytes", "passed"), [(1_000_000, True), (1_000_001, False), (1 << 20, False)])
def test_a_megabyte_is_a_million_bytes(size_bytes: float, passed: bool) -> None:
    assert only(Budget(size_mb=1.0), {"size_bytes": Quantity.measured(size_bytes, "bytes")}).passed is passed


def test_each_device_limit_looks_at_its_own_figure_of_the_artifact() -> None:
    budget = Budget(latency_ms={"host": 1.0}, memory_mb={"host": 50.0}, power_w={"host": 5.0})
    found = {"latency_p50_ms": ms(0.9), "latency_p99_ms": ms(9.0), "power_w": Quantity.measured(6.0, "W")}
    artifact = subject("host", memory_bytes=Quantity.measured(49e6, "bytes"), **found)
    teacher = subject("host", of="teacher", latency_p50_ms=ms(99.0))
    verdict = check_budget(
        budget, metrics={}, rows=(artifact, teacher, subject("phone", latency_p50_ms=ms(99.0))), limited=(ACCURACY,)
    )
    assert [(limit_words(check), check.passed) for check in verdict.checks] == [
        ("latency on host, back to back", True),
        ("memory on host", True),
        ("power on host", False),
    ]
    assert not verdict.passed


def test_of_two_profiles_the_later_counts() -> None:
    rows = (subject("host", latency_p50_ms=ms(2.0)), subject("host", latency_p50_ms=ms(0.5)))
    assert only(Budget(latency_ms={"host": 1.0}), None, *rows).passed


def test_a_figure_that_was_not_measured_never_passes_and_says_why() -> None:
    absent = Quantity.missing("W", "no sensor on this board")
    check = only(Budget(power_w={"host": 1e9}), None, subject("host", power_w=absent))
    assert not check.passed
    assert explain(check) == "power on host could not be measured: no sensor on this board: not passed"


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (Budget(accuracy=0.5), "recorded no accuracy"),
        (Budget(latency_ms={"moon": 1.0}), "not profiled on 'moon'"),
        (Budget(memory_mb={"host": 1.0}), "has no memory_bytes"),
    ],
)
def test_a_figure_that_nobody_recorded_does_not_pass(budget: Budget, told: str) -> None:
    check = only(budget, None, subject("host", latency_p50_ms=ms(0.1)))
    assert not check.passed
    assert check.quantity.how == "not measured"
    assert told in explain(check)


@pytest.mark.parametrize(("value", "passed"), [(0.9, True), (1.1, False)])
def test_an_estimate_is_judged_on_its_value_and_said_to_be_one(value: float, passed: bool) -> None:
    found = Quantity.estimated(value, "ms", "roofline", band=(0.5, 2.0))
    check = only(Budget(latency_ms={"phone": 1.0}), None, subject("phone", latency_p50_ms=found))
    assert check.passed is passed
    assert "the band 0.50–2.00 ms reaches across it" in explain(check)
    assert "estimated, not measured: roofline" in explain(check)


@pytest.mark.parametrize(
    ("value", "interval", "told"),
    [
        (0.9, (0.4, 1.8), "within the limit, but the interval 0.40–1.80 ms reaches across it"),
        (1.2, (0.4, 1.8), "outside the limit by 0.2 ms, but the interval 0.40–1.80 ms reaches across it"),
        (0.5, (0.4, 0.6), "within the limit, with the whole interval 0.400–0.600 ms"),
        (0.5, None, "within the limit"),
    ],
)
def test_an_interval_that_reaches_over_the_limit_is_said(value: float, interval: tuple[float, float] | None, told: str) -> None:
    check = only(Budget(latency_ms={"host": 1.0}), None, subject("host", latency_p50_ms=ms(value, interval=interval)))
    assert explain(check) == told


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"latency_ms": {}},
        {"size_mb": 0},
        {"accuracy_drop": -0.1},
        {"latency_ms": {"host": 0}},
        {"power_w": {"host": float("nan")}},
    ],
)
def test_a_budget_needs_a_sensible_limit(limits: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(limits)


def test_no_loss_at_all_is_a_budget() -> None:
    assert Budget(accuracy_drop=0.0).limits == {"accuracy_drop": 0.0}


def test_a_budget_round_trips_and_names_its_devices() -> None:
    budget = Budget(size_mb=1.0, latency_ms={"phone": 2.0, "host": 1.0}, power_w={"jetson": 7.0})
    assert Budget.model_validate_json(budget.model_dump_json()) == budget
    assert budget.devices == ("host", "jetson", "phone")


def test_the_budget_is_read_without_heavy_imports() -> None:
    code = "import sys, compress.core.budget; print({'torch', 'matplotlib', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("quantity", "result"),
    [
        (ms(0.9, interval=(0.8, 1.0)), "met"),
        (ms(0.9), "met"),
        (ms(0.9, interval=(0.8, 1.1)), "not shown"),
        (ms(1.1, interval=(0.8, 1.2)), "missed"),
        (Quantity.estimated(0.5, "ms", "roofline", band=(0.4, 0.6)), "not shown"),
        (Quantity.missing("ms", "no device"), "missed"),
    ],
)
def test_a_strict_budget_passes_only_what_is_shown(quantity: Quantity, result: str) -> None:
    row = subject("host", latency_p50_ms=quantity)
    point, interval = (
        only(Budget(latency_ms={"host": 1.0}, confidence=confidence), None, row) for confidence in ("point", "interval")
    )
    assert point.result == interval.result == result
    assert point.passed is (result != "missed")
    assert interval.passed is (result == "met")


def test_a_verdict_is_as_good_as_its_worst_limit() -> None:
    rows = (subject("host", latency_p50_ms=ms(0.9, interval=(0.8, 1.1)), memory_bytes=Quantity.measured(1e6, "bytes")),)
    budget = Budget(latency_ms={"host": 1.0}, memory_mb={"host": 2.0})
    assert check_budget(budget, metrics={}, rows=rows, limited=(ACCURACY,)).result == "not shown"
    missed = Budget(latency_ms={"host": 1.0}, memory_mb={"host": 0.5})
    assert check_budget(missed, metrics={}, rows=rows, limited=(ACCURACY,)).result == "missed"


def test_the_confidence_alone_is_no_limit() -> None:
    with pytest.raises(ValidationError, match="at least one limit"):
        Budget(confidence="interval")


def length_row(length: int, value: float, batch: int = 1) -> LengthRow:
    quantities = {"latency_p50_ms": ms(value, interval=(value * 0.9, value * 1.1))}
    return LengthRow(
        subject="artifact", device="host", runtime="test", axis="sequence", length=length, batch=batch, quantities=quantities
    )


def test_limits_by_length_are_checked_at_batch_1_and_a_length_without_a_row_does_not_pass() -> None:
    budget = Budget.model_validate_json('{"latency_ms": {"host": {"512": 40, "64": 5, "128": 10}, "phone": 3}}')
    assert (budget.typical_latency_ms, set(budget.latency_ms_by_length)) == ({"phone": 3}, {"host"})
    rows = (length_row(64, 4.0), length_row(512, 50.0), length_row(128, 1.0, batch=8))
    verdict = check_budget(budget, metrics={}, rows=(subject("phone", latency_p50_ms=ms(1.0)),), limited=(), lengths=rows)
    results = {limit_words(check): check.result for check in verdict.checks if check.device == "host"}
    assert results == {
        "latency on host at length 64, back to back": "met",
        "latency on host at length 128, back to back": "missed",
        "latency on host at length 512, back to back": "missed",
    }
    assert "length 128 was not profiled on 'host'; add it to `lengths`" in explain(verdict.checks[2])
    assert "outside the limit by 10 ms" in explain(verdict.checks[3])


def test_a_length_is_at_least_one_token() -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate({"latency_ms": {"host": {0: 5}}})
