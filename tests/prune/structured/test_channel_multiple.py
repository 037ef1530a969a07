from dataclasses import replace

import pytest

from compress.config.devices import load_device
from compress.core.errors import ModelError
from compress.prune.base import Constraints
from compress.prune.speedup import SpeedupMeter
from compress.prune.structured import channel_multiple as rounding
from compress.prune.structured.channel_multiple import benchmark_multiples, device_multiple, fastest


@pytest.fixture
def large(spec):
    return spec.with_size(24, 24)


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
    result, source = device_multiple(device)
    assert result == multiple
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
    with pytest.raises(ModelError, match="this network reaches the target"):
        benchmark_multiples(wide, large, 0.05, watch, measure="macs", ranking="global", limits=replace(limits, max_ratio=0.3))
