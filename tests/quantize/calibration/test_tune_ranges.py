"""Ranges and biases tuned together: answers move less, nothing else changes, and what does not help is not taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.backends.onnx_session import create_session
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.quantize.calibration import tune_ranges as tuning
from compress.quantize.calibration.tune_ranges import tune_ranges
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.stage import Quantize
from compress.quantize.static_int8 import Int8Format, StaticInt8Plan, plan_static_int8
from tests.export.tiny import SPEC, split

FAMILIES = ("onnxruntime", "openvino")
SAMPLES = split(96, 0).inputs.numpy()
OTHERS = split(64, 5).inputs.numpy()


def samples(inputs: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Each input as a sample, (1, …)."""
    return [{"input": inputs[index : index + 1]} for index in range(len(inputs))]


def static_of(exported: Path, *, wider: float = 1.0, **ptq: Any) -> StaticInt8Plan:
    """Calibrated, then all ranges so many times as wide."""
    static = plan_static_int8(
        graphs.to_ir(onnx_files.load(exported)),
        [{"input": SAMPLES}],
        Int8Format(FAMILIES),
        CalibrationSettings(),
        PTQSettings.model_validate(ptq),
    )
    ranges = {
        family: {name: (wider * low, wider * high) for name, (low, high) in own.items()}
        for family, own in static.ranges.items()
    }
    return replace(static, ranges=ranges)


def decibels(static: StaticInt8Plan, exported: Path, family: str = "onnxruntime") -> float:
    """Of the answers to samples that nobody learned from; unfused, since fused kernels saturate on some processors."""
    exact, quantized = (
        onnx_session.run(create_session(network, optimised=False), OTHERS)
        for network in (onnx_files.load(exported), static.with_qdq(family, ()))
    )
    return float((10 * np.log10((exact**2).sum(1) / ((exact - quantized) ** 2).sum(1))).mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_to_other_samples_move_less(exported: Path, family: str) -> None:
    static = static_of(exported, wider=6.0)
    result = tune_ranges(static, "onnxruntime", samples(SAMPLES), epochs=12)
    assert result.before is not None
    assert result.after is not None
    assert result.after > result.before + 3
    assert decibels(result.static, exported, family) > decibels(static, exported, family) + 3
    (note,) = result.notes
    assert (note.code, note.values["epochs"], note.values["samples"]) == ("quantize_ptq.ranges_learned", 12, 84)
    assert render(note).startswith("ranges and biases learned together, 12 epochs over 84 samples")
    assert render(note).endswith("on 12 other samples")


def test_what_it_tells_is_what_the_runtime_gives(exported: Path) -> None:
    static = static_of(exported)
    held = tune_ranges(static, "onnxruntime", samples(np.concatenate([SAMPLES, OTHERS])), epochs=1)
    assert held.before == pytest.approx(decibels(static, exported), abs=1.0)


def test_weights_and_zero_points_stay(exported: Path) -> None:
    static = static_of(exported, wider=3.0, weights={"bits": 4, "rounding": "gptq"})
    tuned = tune_ranges(static, "onnxruntime", samples(SAMPLES), epochs=4).static
    assert tuned is not static
    before, after = (
        {name: graphs.constant(value) for name, value in plan.with_qdq("onnxruntime", ()).graph.initializers.items()}
        for plan in (static, tuned)
    )
    assert set(before) == set(after)
    integers = [name for name, value in before.items() if value.dtype in (np.int8, np.uint8)]
    assert len(integers) > 10
    for name in integers:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_what_does_not_help_is_not_taken(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "LEARNING_RATE", 5.0)
    static = static_of(exported)
    result = tune_ranges(static, "onnxruntime", samples(SAMPLES), epochs=1)
    assert result.static is static
    (note,) = result.notes
    assert note.code == "quantize_ptq.learned_ranges_discarded"
    assert "1 epoch over" in render(note)
    assert render(note).endswith("the calibrated ranges are used instead")


def test_the_float_network_teaches_not_the_corrected_one(exported: Path) -> None:
    """Biases that post-training quantization has moved are no reason to move the answers there."""
    static = static_of(exported)
    bias = static.model.graph[-1].inputs[2]
    moved = graphs.with_initializers(static.model, {str(bias.name): graphs.constant(bias) + 1.0})
    result = tune_ranges(replace(static, model=moved), "onnxruntime", samples(SAMPLES), epochs=40)
    assert decibels(result.static, exported) > decibels(replace(static, model=moved), exported) + 6


def fixed(exported: Path, batch: int) -> Path:
    model = onnx_files.load(exported)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    path = exported.parent / f"fixed-{batch}.onnx"
    onnx_files.save(model, path)
    return path


def test_a_fixed_batch_is_kept(exported: Path) -> None:
    static = static_of(exported)
    model = graphs.to_ir(onnx_files.load(fixed(exported, 8)))
    static = replace(static, model=model, rescaled=model, ranges={f: {n: (3 * a, 3 * b) for n, (a, b) in r.items()}
                                                                  for f, r in static.ranges.items()})  # fmt: skip
    result = tune_ranges(static, "onnxruntime", samples(SAMPLES[:45]), epochs=2)
    assert (result.notes[0].values["samples"], result.notes[0].values["held_out"]) == (32, 8)
    few = tune_ranges(static, "onnxruntime", samples(SAMPLES[:15]), epochs=2)
    assert few.static is static
    assert few.skipped[0].code == "quantize_ptq.too_few_to_learn_ranges"
    assert render(few.skipped[0]).endswith("use 16 or more")


def test_an_operator_without_gradients_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compress.quantize.qat import onnx_to_torch as replay

    monkeypatch.setattr(replay, "OPERATORS", {k: v for k, v in replay.OPERATORS.items() if k != "GlobalAveragePool"})
    static = static_of(exported)
    result = tune_ranges(static, "onnxruntime", samples(SAMPLES), epochs=1)
    assert result.static is static
    assert result.skipped[0].code == "quantize_ptq.ranges_not_learned"
    assert "GlobalAveragePool" in str(result.skipped[0].values["error"])


def test_the_stage_tunes_when_asked(network: nn.Module, context: Context) -> None:
    stage = Quantize(calibration={"samples": 64, "learn_epochs": 2}, accept_if=None)
    outcome = stage.run(Candidate(SPEC, network), context)
    (note,) = (note for note in outcome.notes if "learned together" in render(note))
    assert "2 epochs over 56 samples" in render(note)
    assert stage.smoke().calibration.learn_epochs == 1
    plain = Quantize(calibration={"samples": 64}, accept_if=None).run(Candidate(SPEC, network), context)
    assert not any("learned together" in render(note) for note in plain.notes)
