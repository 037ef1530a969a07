"""Acceptance by requests: tasks it is for, and a result whose speed is that of requests."""

import dataclasses

import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.stage import Context
from compress.profile.generation.serving_mix import MixTimes
from compress.quantize import serving
from compress.quantize.acceptance import AcceptanceResult, BudgetFigures
from compress.quantize.schemes import build_models
from compress.quantize.serving import judge_by_requests, serving_mix
from compress.quantize.settings import ServingMix
from compress.quantize.stage import Quantize
from compress.quantize.stage_report import StageReport
from compress.tasks.classification import Classification
from tests.export.decoder_artifacts import TASK, text_data

FIGURES = BudgetFigures(1, 1.0, {})
QUANTITIES = {"acceptance_speedup": Quantity.measured(0.5, "1"), "acceptance_drop": Quantity.measured(0, "1")}
RESULT = AcceptanceResult(
    passed=False, rows=(), results=QUANTITIES,
    skipped=(), note=Fact.of("quantize.acceptance", accurate=True, slower=True, latency_ms=2.0), accurate=True,
    float_figures=FIGURES, quantized_figures=FIGURES, fastest={},
)  # fmt: skip


@pytest.fixture
def context(tmp_path):
    return Context(data=text_data(), task=TASK, folder=tmp_path, cache=tmp_path)


def test_the_mix_is_for_networks_that_write_texts(context, language_artifact):
    path = language_artifact[1].files["onnxruntime"]
    assert serving_mix(Quantize(), path, context) == ServingMix(prompt=128, answer=128)
    chosen = {"prompt": 512, "answer": 8}
    assert serving_mix(Quantize(serving=chosen), path, context) == ServingMix(**chosen)
    assert serving_mix(Quantize(), path, dataclasses.replace(context, task=Classification())) is None
    assert Quantize(serving=chosen).requirements == {"serving": ("writes_text",)}
    assert Quantize().requirements == {}


@pytest.mark.parametrize(("token_ms", "slower"), [(0.5, False), (2.0, True)])
def test_the_speed_is_that_of_requests(token_ms, slower, monkeypatch, tmp_path):
    def timed(files, prompt, answer, *, threads):
        assert (prompt, answer, threads) == (16, 100, 1)
        float_times, times = (MixTimes((5.0,) * 8, (token,) * 8, answer) for token in (1.0, token_ms))
        return {"float": float_times, "quantized": times}

    monkeypatch.setattr(serving, "time_mix", timed)
    report = StageReport()
    result = judge_by_requests(RESULT, tmp_path, tmp_path, ServingMix(prompt=16, answer=100), 1, report)
    assert result.passed == (not slower)
    assert result.note.values["slower"] == slower
    assert result.results["acceptance_speedup"].value == pytest.approx(104 / (5 + 99 * token_ms))
    assert result.results["acceptance_drop"].value == 0
    assert [row["network"] for row in report.tables["serving"]] == ["float", "quantized"]


def test_files_of_schemes_are_timed(language_artifact, tmp_path):
    path = language_artifact[1].files["onnxruntime"]
    quantized = build_models("dynamic_int8", graphs.to_ir(onnx_files.load(path)), ("onnxruntime",)).models["onnxruntime"]
    onnx_files.save(quantized, tmp_path / "quantized.onnx")
    report = StageReport()
    judge_by_requests(RESULT, path, tmp_path / "quantized.onnx", ServingMix(prompt=8, answer=4), 1, report)
    assert all(row["request_ms"]["value"] > 0 for row in report.tables["serving"])
