import json
from contextlib import contextmanager
from dataclasses import replace

import pytest

from compress.config.devices import load_device
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.substitute import choose_auto as choices
from compress.substitute import loop as steps
from compress.substitute import results as outcome
from tests.substitute.runs import kinds, run


class InterruptedTestError(Exception):
    pass


COST = {"Hardswish": 1.0, "SiLU": 0.001, "GELU": 0.0}


@pytest.fixture
def clock(monkeypatch):
    """Milliseconds by what is left in a network."""

    @contextmanager
    def exported(networks, spec):
        yield networks

    def measure_interleaved(files, signature, *, seconds):
        return {name: 10 + sum(COST.get(kind, 0.0) for kind in kinds(network)) for name, network in files.items()}

    def speedup(slow, fast):
        return Quantity.measured(slow / fast, "1", "by the test's clock", interval=(slow / fast, slow / fast))

    monkeypatch.setattr(choices.stopwatch, "exported", exported)
    monkeypatch.setattr(choices.stopwatch, "measure_interleaved", measure_interleaved)
    monkeypatch.setattr(choices, "speedup", speedup)


def test_auto_replaces_only_kinds_that_cost_time_and_gives_reasons(candidate, context, clock):
    result = run(candidate, context, activations="auto", squeeze_excite="keep", depthwise="keep")
    assert [row["layer"] for row in result.tables["replacements"]] == ["block.body.2"]
    assert {row["kind"]: round(row["speedup"], 3) for row in result.tables["auto"]} == {
        "hardswish": 1.1,
        "silu": 1.0,
        "gelu": 1.0,
    }
    assert {skip.subject for skip in result.skipped} == {"block.body.5", "stem.2"}
    assert all(skip.values["speedups"] == pytest.approx((1.0,), abs=5e-3) for skip in result.skipped)
    assert all("host 1.00 times as fast without" in render(skip) for skip in result.skipped)


def test_a_resumed_stage_uses_the_stored_decisions(candidate, context, clock, monkeypatch):
    def fail(*_, **__):
        raise InterruptedTestError

    monkeypatch.setattr(outcome, "measure_speedup", fail)
    monkeypatch.setattr(steps, "finetune", fail)
    with pytest.raises(InterruptedTestError):
        run(candidate, context, activations="auto")
    remaining = json.loads((context.folder / choices.FILE).read_text())
    monkeypatch.setattr(choices, "_speedups", fail)  # nothing is measured again
    with pytest.raises(InterruptedTestError):
        run(candidate, context, activations="auto")
    assert json.loads((context.folder / choices.FILE).read_text()) == remaining


def test_auto_estimates_the_speedup_for_other_targets(candidate, context):
    there = replace(context, targets=(load_device("mobile_cpu"),))
    result = run(candidate, there, activations="none", squeeze_excite="auto", depthwise="keep")
    (row,) = result.tables["auto"]
    assert (row["how"], row["target"], row["kind"]) == ("estimated", "mobile_cpu", "squeeze_excite")
    assert row["speedup"] > 1.02
    assert [row["layer"] for row in result.tables["replacements"]] == ["block.body.6"]
