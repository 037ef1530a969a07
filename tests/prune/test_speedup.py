from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compress.config.devices import load_device
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.core.stage import Candidate, Context
from compress.models.count_macs import count_network
from compress.profile.compare_networks import Comparison
from compress.profile.cost_model.operator_work import OperatorWork
from compress.prune import latency_target as latency
from compress.prune import setup as prepare
from compress.prune.base import Constraints
from compress.prune.speedup import SpeedupMeter, diagnose, misaligned, no_speedup
from compress.prune.stage import Prune, Target
from compress.prune.structured import channel_multiple as rounding
from compress.prune.structured.channel_multiple import benchmark_multiples, device_multiple, fastest

ROW = {"predicted_speedup": 2.0, "measured_speedup": 1.5, "cause": "memory-bound: …"}


class Wide(nn.Module):
    """Convolutions large enough that half of the channels show in the time."""

    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


@pytest.fixture
def wide():
    torch.manual_seed(0)
    return Wide().eval()


@pytest.fixture
def large(spec):
    return spec.model_copy(update={"height": 24, "width": 24})


@pytest.fixture
def context(data, task, tmp_path):
    return Context(
        data=data,
        task=task,
        folder=tmp_path / "stage",
        cache=tmp_path / "cache",
        seed=3,
        device="cpu",
    )


@pytest.mark.parametrize(
    ("name", "sets", "multiple"),
    [
        ("host", ("avx2",), 8),
        ("host", ("avx2", "avx512f"), 16),
        ("mobile_cpu", (), 16),
        ("jetson_orin_nano", (), 16),
    ],
)
def test_the_multiple_follows_from_runtime_precision_and_instructions_with_a_source(name, sets, multiple):
    device = load_device(name)
    if device.hardware is not None:
        device = device.model_copy(update={"hardware": device.hardware.model_copy(update={"instruction_sets": sets})})
    found, source = device_multiple(device)
    assert found == multiple
    assert "(" in source


def test_the_fastest_rounding_wins_and_of_equals_the_smaller():
    assert fastest({1: 3.0, 4: 1.0, 8: 1.0, 16: 2.0}) == 4


def test_roundings_are_tried_at_the_same_cost_and_those_out_of_reach_have_a_reason(wide, large, monkeypatch):
    watch = SpeedupMeter(wide, large, seconds=0.05)
    limits = Constraints(max_ratio=0.6)
    monkeypatch.setattr(rounding, "CANDIDATES", (1, 8, 64))
    multiple, rows = benchmark_multiples(wide, large, 0.55, watch, measure="macs", ranking="global", limits=limits)
    assert [row["round_to"] for row in rows] == [1, 8, 64]
    assert rows[2]["latency_ms"] is None
    tried = {row["round_to"]: row for row in rows if row["latency_ms"] is not None}
    assert multiple == min(tried, key=lambda number: tried[number]["latency_ms"])
    assert all(0.3 < row["macs_ratio"] <= 0.55 for row in tried.values())
    assert all(row["note"] for row in rows if row["latency_ms"] is None)
    with pytest.raises(ModelError, match="no rounding at which this network reaches the target"):
        benchmark_multiples(wide, large, 0.05, watch, measure="macs", ranking="global", limits=replace(limits, max_ratio=0.3))


def test_a_row_holds_predicted_and_measured_speed_and_their_ratio(wide, large):
    small = Wide(16).eval()
    row = SpeedupMeter(wide, large, seconds=0.2).row(small, load_device("jetson_orin_nano"))
    ratio = count_network(wide, large).macs / count_network(small, large).macs
    assert row["predicted_speedup"] == pytest.approx(ratio)
    assert row["measured_speedup"] > 1.5  # a sixteenth of the work
    assert row["efficiency"] == pytest.approx(row["measured_speedup"] / ratio)
    assert row["estimated_speedup"] >= 1.0
    assert row["dense_ms"] > row["pruned_ms"] > 0


def _work(operations, elements, number=10):
    return tuple(OperatorWork(f"n{i}", "Conv", "dense", "float", operations, elements) for i in range(number))


@pytest.mark.parametrize(
    ("odd", "work", "latency_ms", "told"),
    [
        (3, _work(10**6, 100), 1.0, "channel alignment: 3 convolutions"),
        (0, _work(10**6, 100), 0.01, "runtime overhead: 10 operators of 1.0 µs"),
        (0, _work(1000, 1000), 1.0, "memory-bound: 0.2 operations"),
        (0, _work(10**6, 100), 1.0, "unknown"),
    ],
)
def test_the_likely_cause(odd, work, latency_ms, told):
    assert told in diagnose(odd, work, latency_ms)


def test_convolutions_that_do_not_suit_the_blocks_are_counted():
    net = nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 12, 1), nn.Conv2d(12, 12, 3, groups=12), nn.Conv2d(12, 8, 1))
    assert misaligned(net) == 1


def test_a_step_that_gains_no_time_is_told_with_its_cause():
    rows = [{**ROW, "step": 1}, {**ROW, "step": 2, "predicted_speedup": 3.0}, {**ROW, "step": 3, "predicted_speedup": 3.0}]
    (fact,) = no_speedup(rows)
    assert (fact.code, fact.subject) == ("prune.no_speedup", "step 2")
    assert render(fact).startswith("step 2 removed multiply-accumulates")
    assert "memory-bound" in render(fact)
    (wide,) = no_speedup([{**ROW, "step": 1, "measured_speedup": 0.9, "low": 0.7, "high": 1.3}])
    assert "0.90 times the dense speed, 95 % interval 0.70 to 1.30" in render(wide)


def test_steps_are_timed_and_times_change_no_weight(wide, large, data, context, tmp_path):
    fields = {"target": {"macs": 0.5}, "schedule": {"kind": "linear", "steps": 2}, "recover": {"epochs": 0}}
    candidate = Candidate(spec=data.spec, module=wide)
    timed = Prune(**fields, timing_seconds=0.05).run(candidate, context)
    rows = timed.tables["speed"]
    assert [row["step"] for row in rows] == [1, 2]
    assert timed.results["speedup_efficiency"].value == pytest.approx(rows[-1]["efficiency"])
    assert timed.results["pruning_speedup"].how == "measured"
    untimed = Prune(**fields, timing_seconds=0).run(candidate, replace(context, folder=tmp_path / "untimed"))
    assert untimed.results["pruning_speedup"].how == "not measured"
    expected = untimed.candidate.network().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in timed.candidate.network().state_dict().items())
    assert not list(context.folder.glob("step-*"))


def test_a_rerun_decides_as_the_first_run_did(wide, data, context, monkeypatch):
    stage = Prune(target={"macs": 0.5}, round_to="measure", recover={"epochs": 0}, timing_seconds=0)
    candidate = Candidate(spec=data.spec, module=wide)
    calls = []

    def chosen(*_, **__):
        calls.append(1)
        return 16, ({"round_to": 16, "latency_ms": 1.0},)

    monkeypatch.setattr(prepare.rounding, "benchmark_multiples", chosen)
    context.folder.mkdir()
    first = prepare.PruningSetup(stage, candidate, context, wide)
    again = prepare.PruningSetup(stage, candidate, context, wide)
    assert (first.measured.round_to, again.measured.round_to, len(calls)) == (16, 16, 1)
    assert again.tables()["rounding"] == first.tables()["rounding"]
    assert again.notes()[0] == Fact.of("prune.channel_multiple", "measure", multiple=16)


def test_a_latency_target_on_a_device_out_of_reach_is_met_by_its_estimate(wide, data, context):
    from compress.prune.speedup import estimated_ms

    device = load_device("mobile_cpu")
    dense = estimated_ms(wide, data.spec, device)
    stage = Prune(
        target={"latency_ms": 0.8 * dense, "device": "phone"},
        schedule={"kind": "one_shot"},
        recover={"epochs": 0},
        timing_seconds=0,
    )
    outcome = stage.run(Candidate(spec=data.spec, module=wide), context)
    reached = estimated_ms(outcome.candidate.network(), data.spec, device)
    assert reached <= 0.8 * dense * 1.001
    assert not any(fact.code == "prune.target_not_reached" for fact in outcome.notes)


def test_an_unreachable_latency_says_how_far_it_got_and_what_limits_it(wide, data, context):
    stage = Prune(
        target={"latency_ms": 1e-6, "device": "phone"}, schedule={"kind": "one_shot"}, recover={"epochs": 0}, max_ratio=0.5
    )
    outcome = stage.model_copy(update={"timing_seconds": 0.0}).run(Candidate(spec=data.spec, module=wide), context)
    (fact,) = (warning for warning in outcome.warnings if warning.code == "prune.target_not_reached")
    assert fact in outcome.notes
    assert (fact.subject, fact.values["max_ratio"]) == ("latency_ms", 0.5)
    assert "target not reached: latency_ms at" in render(fact)
    assert "max_ratio 0.5" in render(fact)
    assert outcome.results["macs_ratio"].value < 0.6


def test_a_latency_that_the_dense_network_meets_prunes_nothing(wide, data, context):
    stage = Prune(target={"latency_ms": 1e6}, schedule={"kind": "one_shot"}, recover={"epochs": 0})
    outcome = stage.run(Candidate(spec=data.spec, module=wide), context)
    assert outcome.results["macs_ratio"].value == 1.0
    assert any(fact.code == "prune.latency_target_already_met" for fact in outcome.notes)
    assert any(fact.code == "prune.latency_target_already_met" for fact in outcome.warnings)


class SteadyComparison(Comparison):
    @property
    def speedup(self):
        return _quantity(self.before.milliseconds[0] / self.after.milliseconds[0])


class Unwavering(SpeedupMeter):
    """A stopwatch whose ratios are those of the parameters, on a machine that becomes slower with every look."""

    slower = 1.0

    def compare(self, network, *, seconds=None):  # noqa: ARG002
        dense = 2.0 * self.slower
        type(self).slower *= 1.02
        pruned = dense * _size(network) / DENSE
        timing = {name: SimpleNamespace(milliseconds=[ms] * 9) for name, ms in (("dense", dense), ("pruned", pruned))}
        return SteadyComparison(timing["dense"], timing["pruned"], ())

    def row(self, network, device):
        assert device.name == "host"
        return {**ROW, "low": None, "high": None, "efficiency": 0.7, "pruned_ms": 2.0 * _size(network) / DENSE}


DENSE = sum(p.numel() for p in Wide().parameters())


def _quantity(value):
    return Quantity.measured(value, "1", interval=(0.99 * value, 1.01 * value))


@pytest.mark.parametrize("target", [{"latency": 0.5}, {"latency_ms": 1.0}])
def test_a_latency_on_this_machine_is_held_to_as_a_fraction_though_the_machine_becomes_slower(
    target, wide, data, context, monkeypatch
):
    monkeypatch.setattr(prepare.PruningSetup, "_dense_ms", lambda _: 2.0)
    monkeypatch.setattr(prepare.speed, "SpeedupMeter", Unwavering)
    monkeypatch.setattr(Unwavering, "slower", 1.0)
    stage = Prune(target=target, schedule={"kind": "one_shot"}, recover={"epochs": 0})
    outcome = stage.run(Candidate(spec=data.spec, module=wide), context)
    left = _size(outcome.candidate.network()) / DENSE
    assert 0.25 < left <= 0.5
    assert Unwavering.slower > 1.05
    ratio = outcome.results["latency_ratio"]
    assert ratio.how == "measured"
    assert ratio.value == pytest.approx(left)
    assert ratio.low < ratio.value < ratio.high
    (row,) = outcome.tables["latency_target"]
    assert row["asked"] == pytest.approx(0.5)
    assert row["dense_ms"] > row["dense_ms_before"]
    (verdict,) = (fact for fact in outcome.notes if fact.code == "prune.latency_target")
    assert verdict.values["verdict"] == "met"
    assert outcome.warnings == ()
    (changed,) = (fact for fact in outcome.notes if fact.code == "prune.machine_speed_changed")
    assert changed.values["dense_ms"] > changed.values["dense_ms_before"]
    assert ("target: {latency: 0.5}" in render(changed)) == ("latency_ms" in target)


REACHED = {"asked": 0.5, "reached": 0.49, "low": 0.48, "high": 0.50, "dense_ms_before": 8.0, "dense_ms": 8.1, "pruned_ms": 3.97}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "met"),
        ({"reached": 0.505, "low": 0.495, "high": 0.515}, "met_within_interval"),
        ({"reached": 0.55, "low": 0.54, "high": 0.56}, "missed"),
        ({"reached": 0.55, "low": None, "high": None}, "missed"),
    ],
)
def test_the_verdict_on_a_latency_goes_by_its_interval(changes, verdict):
    (fact,) = latency.describe(Target(latency=0.5), latency.LatencyResult(**{**REACHED, **changes}))
    assert (fact.code, fact.values["verdict"]) == ("prune.latency_target", verdict)
    words = "met within what the measurement can tell" if verdict == "met_within_interval" else verdict
    assert render(fact).endswith(f": {words}")


def test_a_target_in_ms_is_told_at_the_speed_of_the_start():
    slower = latency.LatencyResult(**{**REACHED, "dense_ms": 11.0, "pruned_ms": 5.4})
    note, moved = map(render, latency.describe(Target(latency_ms=4.0), slower))
    assert "which is 4 ms at the speed of the start, where it would take 3.92 ms" in note
    assert "became slower meanwhile: the dense network took 8 ms at the start and 11 ms at the end" in moved
    assert "target: {latency: 0.5}" in moved


@pytest.mark.slow
def test_a_real_latency_target_is_measured_at_the_end(wide, data, context):
    stage = Prune(target={"latency": 0.6}, schedule={"kind": "one_shot"}, recover={"epochs": 0}, round_to=8, timing_seconds=0)
    outcome = stage.run(Candidate(spec=data.spec, module=wide), replace(context, smoke=True))
    ratio = outcome.results["latency_ratio"]
    assert 0.05 < ratio.value < 0.8
    assert any(fact.code == "prune.latency_target" for fact in outcome.notes)


def _size(net):
    return sum(p.numel() for p in net.parameters())
