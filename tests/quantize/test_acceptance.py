from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from compress.config.devices import Device, load_device
from compress.core.budget import Budget
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.core.stage import Candidate, Context, Outcome
from compress.quantize.acceptance import AcceptanceResult, BudgetFigures, _is_accurate, limits_only_quantized_meets
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC


def chosen(outcome: Outcome) -> list[str]:
    return [row["network"] for row in outcome.tables["acceptance"] if row["chosen"]]


def here(*runtimes: str) -> Device:
    return load_device("host").model_copy(update={"runtimes": runtimes})


def test_acceptance_test_records_its_verdict(network: nn.Module, context: Context) -> None:
    context = dataclasses.replace(context, targets=(here(),))
    stage = Quantize(accept_if={"accuracy_drop": 1.0, "seconds": 0.02, "keep": "quantized"})
    outcome = stage.run(Candidate(SPEC, network), context)
    assert outcome.results["acceptance_speedup"].how == "measured"
    assert {(row["network"], row["runtime"]) for row in outcome.tables["acceptance"]} == {
        ("float", "onnxruntime"),
        ("quantized", "onnxruntime"),
    }
    assert chosen(outcome) == ["quantized"]
    assert outcome.candidate.files["onnxruntime"].name == "model.onnx"


def test_float_network_replaces_one_that_loses_too_much(network: nn.Module, context: Context, exported: Path) -> None:
    context = dataclasses.replace(context, targets=(here(),))
    stage = Quantize(ptq={"weights": {"bits": 2}}, accept_if={"accuracy_drop": 0.01, "seconds": 0.02})
    outcome = stage.run(Candidate(SPEC, network), context)
    assert outcome.candidate.files["onnxruntime"].read_bytes() == exported.read_bytes()
    assert outcome.candidate.files["onnxruntime"].parent == context.folder
    assert chosen(outcome) == ["float"]
    failed, replaced = outcome.warnings
    assert (failed.code, failed.values["accurate"]) == ("quantize.acceptance", False)
    assert render(failed).startswith("acceptance test failed: the quantized network has a worse accuracy, by ")
    assert replaced == Fact.of("quantize.float_network_ships")
    assert all(fact in outcome.notes for fact in (failed, replaced))
    assert outcome.results["acceptance_drop"].value > 0.01


def test_quantized_network_that_alone_meets_the_budget_ships_although_it_failed(
    network: nn.Module, context: Context, exported: Path
) -> None:
    limit_mb = 0.8 * exported.stat().st_size / 1e6
    stage = Quantize(ptq={"weights": {"bits": 2}}, accept_if={"accuracy_drop": 0.01, "seconds": 0.02})
    budget = Budget(size_mb=limit_mb, accuracy=0.01)
    context = dataclasses.replace(context, targets=(here(),), budget=budget)
    outcome = stage.run(Candidate(SPEC, network), context)
    assert outcome.candidate.files["onnxruntime"].name == "model.onnx"
    assert outcome.candidate.files["onnxruntime"].stat().st_size / 1e6 <= limit_mb
    assert [fact.code for fact in outcome.warnings] == ["quantize.acceptance", "quantize.quantized_network_meets_budget"]
    assert outcome.warnings[1].values["limits"] == ("size_mb",)
    assert chosen(outcome) == ["quantized"]
    without_metric = dataclasses.replace(context, budget=Budget(size_mb=limit_mb))
    assert stage.run(Candidate(SPEC, network), without_metric).candidate.files["onnxruntime"].name == "model.float.onnx"


FLOAT_FIGURES = BudgetFigures(4_000_000, 1.0, {"accuracy": 0.9, "calibration_error": 0.02})
QUANTIZED_FIGURES = BudgetFigures(1_000_000, 1.5, {"accuracy": 0.88, "calibration_error": 0.05})


@pytest.mark.parametrize(
    ("budget", "accurate", "reference", "limits"),
    [
        (Budget(size_mb=2), True, None, ("size_mb",)),
        (Budget(size_mb=2), False, None, ()),
        (Budget(size_mb=5), True, None, ()),
        (Budget(size_mb=0.5), True, None, ()),
        (Budget(size_mb=2, accuracy=0.85), False, None, ("size_mb",)),
        (Budget(size_mb=2, accuracy=0.89), True, None, ()),
        (Budget(size_mb=2, accuracy=0.95), False, None, ("size_mb",)),
        (Budget(size_mb=2, latency_ms={"host": 1.2}), True, None, ()),
        (Budget(size_mb=2, latency_ms={"host": 0.5}), True, None, ("size_mb",)),
        (Budget(size_mb=2, latency_ms={"phone": 0.5}), True, None, ("size_mb",)),
        (Budget(size_mb=2, accuracy_drop=0.03), False, 0.9, ("size_mb",)),
        (Budget(size_mb=2, accuracy_drop=0.01), True, 0.9, ()),
        (Budget(size_mb=2, accuracy_drop=0.03), False, None, ()),
        (Budget(size_mb=2, calibration_error=0.04), True, None, ()),
        (Budget(size_mb=2, calibration_error=0.06), True, None, ("size_mb",)),
    ],
)
def test_the_whole_budget_decides_what_ships_after_a_failed_test(
    context: Context, budget: Budget, accurate: bool, reference: float | None, limits: tuple[str, ...]
) -> None:
    note = Fact.of("quantize.acceptance")
    result = AcceptanceResult(False, (), {}, (), note, accurate, FLOAT_FIGURES, QUANTIZED_FIGURES, {})
    if reference is not None:
        quantity = Quantity.measured(reference, "fraction", "validation")
        teacher = SimpleNamespace(after={"accuracy_validation": quantity})
        context = dataclasses.replace(context, teachers=(Candidate(SPEC),), previous_records=(teacher,))
    assert limits_only_quantized_meets(result, dataclasses.replace(context, budget=budget), "host") == limits


def test_acceptance_test_runs_each_runtime_on_its_own_file(network: nn.Module, context: Context) -> None:
    pytest.importorskip("openvino")
    context = dataclasses.replace(context, targets=(here("openvino"),))
    outcome = Quantize(accept_if={"accuracy_drop": 1.0, "seconds": 0.02}).run(Candidate(SPEC, network), context)
    rows = {(row["network"], row["runtime"]): row for row in outcome.tables["acceptance"]}
    assert len(rows) == 4
    assert abs(rows["quantized", "openvino"]["accuracy_drop"]["value"]) <= 0.1
    assert sum(row["chosen"] for row in rows.values()) == 1


def test_acceptance_test_names_an_unavailable_runtime(network: nn.Module, context: Context) -> None:
    context = dataclasses.replace(context, targets=(here("onnxruntime:cuda"),))
    outcome = Quantize(accept_if={"accuracy_drop": 1.0, "seconds": 0.02}).run(Candidate(SPEC, network), context)
    (skip,) = (fact for fact in outcome.skipped if fact.code == "quantize.runtime_unavailable")
    assert skip.subject == "onnxruntime:cuda"
    assert "CUDAExecutionProvider" in skip.values["error"]


@pytest.mark.parametrize("changes", [{"accept_if": None}, {"smoke": True}])
def test_acceptance_test_is_left_out_on_request_and_in_smoke_runs(network: nn.Module, context: Context, changes: dict) -> None:
    context = dataclasses.replace(context, targets=(here(),), smoke=changes.get("smoke", False))
    stage = Quantize(**{key: value for key, value in changes.items() if key != "smoke"})
    assert "acceptance" not in stage.run(Candidate(SPEC, network), context).tables


@pytest.mark.parametrize(
    ("loss", "interval", "accurate"),
    [(0.05, None, False), (0.005, None, True), (0.05, (0.001, 0.1), True), (None, None, False)],
)
def test_a_loss_without_an_interval_is_judged_by_its_value(
    loss: float | None, interval: tuple[float, float] | None, accurate: bool
) -> None:
    drop = Quantity.missing("fraction", "no value") if loss is None else Quantity.measured(loss, "fraction", interval=interval)
    assert _is_accurate(drop, 0.01) is accurate
