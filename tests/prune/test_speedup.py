import pytest
from torch import nn

from compress.config.devices import load_device
from compress.core.sentences import render
from compress.models.count_macs import count_network
from compress.profile.cost_model.operator_work import OperatorWork
from compress.prune.speedup import SpeedupMeter, diagnose, misaligned, no_speedup
from tests.prune.conftest import Wide

ROW = {"predicted_speedup": 2.0, "measured_speedup": 1.5, "cause": "memory-bound: …"}


@pytest.fixture
def large(spec):
    return spec.with_size(24, 24)


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
        (0, _work(10**6, 100), 0.01, "runtime overhead: 10 operators take 1.0 µs"),
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
