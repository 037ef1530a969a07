"""Both searches of mixed precision on a real small network, against all of its sets of layers."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
from pydantic import ValidationError
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.config.devices import host
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.data.interface import Data
from compress.quantize.mixed_precision import fewest_float_layers, under_budget
from compress.quantize.mixed_precision.deadline import Deadline
from compress.quantize.mixed_precision.search import search_mixed_precision
from compress.quantize.mixed_precision.trial import TrialBuilder
from compress.quantize.settings import CalibrationSettings, MixedPrecisionSettings, PTQSettings, WeightSettings
from compress.quantize.stage import Quantize
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from tests.export.tiny import SPEC, Target, split


@pytest.fixture(scope="module")
def trials(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> TrialBuilder:
    """Three-bit weights, so that layers matter; 600 validation samples, so that 0.2 points are one of them."""
    from compress.tasks.classification import Classification

    model = onnx_files.load(exported)
    static = plan_static_int8(
        graphs.to_ir(model),
        [{"input": split(64, 0).inputs.numpy()}],
        Int8Format(("onnxruntime",)),
        CalibrationSettings(),
        PTQSettings(weights=WeightSettings(bits=3)),
    )
    data = Data(SPEC, split(120, 0), split(600, 1), split(60, 2))
    folder = tmp_path_factory.mktemp("mixing")
    return TrialBuilder(
        static,
        (),
        SPEC,
        Context(data, Classification(), folder, folder / "cache", targets=(host(),)),
    )


@pytest.fixture(scope="module")
def every(trials: TrialBuilder) -> dict[tuple[str, ...], tuple[float, float, float]]:
    """Loss, noise in dB below nothing, and bytes of every set of layers in float."""
    sets = [variant for size in range(6) for variant in itertools.combinations(trials.layers, size)]
    result = {variant: (*trials.evaluate(variant), trials.size_bytes(variant)) for variant in sets}
    return {variant: (drop, -sqnr, size) for variant, (drop, sqnr, size) in result.items()}


def test_layers_in_float_take_their_noise_away(trials: TrialBuilder, every: dict) -> None:
    """They are really in float: with all of them there, only activations between them are rounded."""
    assert every[trials.layers][1] < every[()][1] - 10
    assert every[trials.layers][2] > every[()][2] + 3 * 4000


@pytest.mark.parametrize("budget", [0.0, 0.002, 0.005, 0.02])
def test_no_more_layers_in_float_than_the_greedy_optimum(trials: TrialBuilder, every: dict, budget: float) -> None:
    """Nor than one more than the fewest of any set that holds."""
    result = fewest_float_layers.search(trials.layers, trials.evaluate, budget=budget, deadline=Deadline(60))
    holding = [len(variant) for variant, (drop, _, _) in every.items() if drop <= budget]
    if holding:
        assert result.within_budget
        assert len(result.float_layers) <= min(greedy(trials.layers, every, budget), min(holding) + 1)
    else:
        assert not result.within_budget


def greedy(layers: tuple[str, ...], every: dict, budget: float) -> int:
    """Layers put in float one by one, each time the one that leaves least loss, then least noise, until the budget holds."""
    floats: tuple[str, ...] = ()
    while every[floats][0] > budget and len(floats) < len(layers):
        ways = [tuple(variant for variant in layers if variant in (*floats, new)) for new in layers if new not in floats]
        floats = min(ways, key=lambda variant: every[variant][:2])
    return len(floats) if every[floats][0] <= budget else len(layers)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_under_a_size_budget_no_set_of_layers_is_better(trials: TrialBuilder, every: dict, part: float) -> None:
    least, most = every[()][2], every[trials.layers][2]
    budget = least + part * (most - least)
    result = under_budget.search(trials.layers, trials.evaluate, trials.size_bytes, budget=budget, deadline=Deadline(60))
    assert result.within_budget
    assert result.cost == every[result.float_layers][2] <= budget
    best = min((max(drop, 0.0), noise) for drop, noise, size in every.values() if size <= budget)
    assert max(result.drop, 0.0) <= best[0] + 1e-9
    assert every[result.float_layers][1] <= best[1] + 1.0  # within 1 dB of the best of all


@pytest.mark.slow
def test_a_latency_budget_is_measured_on_this_machine_and_the_best_is_on_disk(trials: TrialBuilder, every: dict) -> None:
    result = search_mixed_precision(
        MixedPrecisionSettings(latency_ms=1000.0, seconds=30), trials.plan, (), SPEC, trials.context
    )
    assert "1000 ms is met" in render(result.note)
    assert result.within_budget
    assert every[result.float_layers][:2] <= every[()][:2]
    assert {"layer", "drop_saved", "noise_saved", "ms_more"} == set(result.rows[0])
    remaining = onnx_files.load(trials.context.folder / "model.onnx")
    assert remaining == trials.build(result.float_layers)
    tight = search_mixed_precision(MixedPrecisionSettings(latency_ms=1e-6, seconds=2), trials.plan, (), SPEC, trials.context)
    assert "is not met" in render(tight.note)
    assert not tight.within_budget


def test_a_latency_without_this_machine_among_the_targets_is_refused(trials: TrialBuilder) -> None:
    context = dataclasses.replace(trials.context, targets=(Target("jetson", "tensorrt"),))
    with pytest.raises(ConversionError, match=r"no target is \(targets: jetson\)"):
        search_mixed_precision(MixedPrecisionSettings(latency_ms=1.0), trials.plan, (), SPEC, context)


def test_the_stage_keeps_a_file_under_its_size_budget(network: nn.Module, context: Context) -> None:
    small = Quantize(accept_if=None).run(Candidate(SPEC, network), context).candidate.files["onnxruntime"].stat().st_size
    stage = Quantize(mixed={"size_bytes": small + 2000}, accept_if=None)
    outcome = stage.run(Candidate(SPEC, network), context)
    size = outcome.candidate.files["onnxruntime"].stat().st_size
    assert small < size <= small + 2000
    (note,) = (variant for variant in outcome.notes if isinstance(variant, Fact) and variant.code == "quantize.mixed_precision")
    assert f"{size:,} bytes; the budget of {small + 2000:,} bytes is met" in render(note)
    assert any(skip.code == "quantize.float_by_mixed_precision" for skip in outcome.skipped)
    assert set(outcome.tables["sensitivity"][0]) == {"layer", "drop_saved", "noise_saved", "bytes_more"}


def test_one_budget_at_a_time_and_001_where_none_is_given() -> None:
    with pytest.raises(ValidationError, match=r"mixed allows one budget of .*; remove all but one of accuracy_drop, size_mb"):
        Quantize(mixed={"accuracy_drop": 0.01, "size_mb": 1.0})
    assert MixedPrecisionSettings(accuracy_drop=0.0).limits == {"accuracy_drop": 0.0}
    assert (
        MixedPrecisionSettings(accuracy_drop=0.0).cost_limits,
        MixedPrecisionSettings(size_mb=1.5).cost_limits,
        MixedPrecisionSettings(size_mb=1.5).max_bytes,
        MixedPrecisionSettings(size_bytes=7).max_bytes,
    ) == ((), ("size_mb",), 1.5e6, 7)
    again = Quantize.model_validate(Quantize(mixed={"size_mb": 1.0}).model_dump(mode="json"))
    assert again.mixed == MixedPrecisionSettings(size_mb=1.0)


def test_what_no_target_can_do_is_found_before_anything_runs() -> None:
    from compress.config.devices import load_device

    jetson = load_device("jetson")
    assert "which tensorrt supports" in (Quantize(scheme="bf16").unsupported_reason((host(), jetson)) or "")
    assert "which onnxruntime" in (Quantize(scheme="weight_int4").unsupported_reason((jetson,)) or "")
    assert "add host to the devices" in (Quantize(mixed={"latency_ms": 1.0}).unsupported_reason((jetson,)) or "")
    for stage in (Quantize(), Quantize(scheme="fp16"), Quantize(mixed={"latency_ms": 1.0})):
        assert stage.unsupported_reason((host(), jetson)) is None
    assert Quantize(scheme="bf16").unsupported_reason((jetson,)) is None
