from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from compress.config.devices import load_device
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.core.stage import Candidate
from compress.profile.compare_networks import Comparison
from compress.prune import setup as prepare
from compress.prune.speedup import SpeedupMeter
from compress.prune.stage import Prune
from tests.prune.conftest import Wide

ROW = {"predicted_speedup": 2.0, "measured_speedup": 1.5, "cause": "memory-bound: …"}


@pytest.fixture
def large(spec):
    return spec.with_size(24, 24)


@pytest.mark.slow
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

    def selection(*_, **__):
        calls.append(1)
        return 16, ({"round_to": 16, "latency_ms": 1.0},)

    monkeypatch.setattr(prepare.channel_multiple, "benchmark_multiples", selection)
    first = prepare.PruningSetup(stage, candidate, context, wide)
    again = prepare.PruningSetup(stage, candidate, context, wide)
    assert (first.log.round_to, again.log.round_to, len(calls)) == (16, 16, 1)
    assert again.tables(wide)["rounding"] == first.tables(wide)["rounding"]
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


@pytest.mark.slow
def test_an_unreachable_latency_says_how_far_it_got_and_what_limits_it(wide, data, context):
    stage = Prune(
        target={"latency_ms": 1e-6, "device": "phone"}, schedule={"kind": "one_shot"}, recover={"epochs": 0}, max_ratio=0.5
    )
    outcome = stage.model_copy(update={"timing_seconds": 0.0}).run(Candidate(spec=data.spec, module=wide), context)
    (fact,) = (warning for warning in outcome.warnings if warning.code == "prune.target_not_reached")
    assert fact in outcome.notes
    assert (fact.subject, fact.values["max_ratio"]) == ("latency_ms", 0.5)
    assert "target not reached: latency_ms is" in render(fact)
    assert "max_ratio 0.5" in render(fact)
    assert outcome.results["macs_ratio"].value < 0.6


@pytest.mark.slow
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
    monkeypatch.setattr(prepare.speedup, "SpeedupMeter", Unwavering)
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


@pytest.mark.slow
def test_a_real_latency_target_is_measured_at_the_end(wide, data, context):
    stage = Prune(target={"latency": 0.6}, schedule={"kind": "one_shot"}, recover={"epochs": 0}, round_to=8, timing_seconds=0)
    outcome = stage.run(Candidate(spec=data.spec, module=wide), replace(context, smoke=True))
    ratio = outcome.results["latency_ratio"]
    assert 0.05 < ratio.value < 0.8
    assert any(fact.code == "prune.latency_target" for fact in outcome.notes)


def _size(net):
    return sum(p.numel() for p in net.parameters())
