import pytest

from compress.core.sentences import render
from compress.prune import latency_target as latency
from compress.prune.stage import Target

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
    words = "met within the measurement interval" if verdict == "met_within_interval" else verdict
    assert render(fact).endswith(f": {words}")


def test_a_target_in_ms_is_told_at_the_speed_of_the_start():
    slower = latency.LatencyResult(**{**REACHED, "dense_ms": 11.0, "pruned_ms": 5.4})
    note, moved = map(render, latency.describe(Target(latency_ms=4.0), slower))
    assert "at the speed of the machine at the start: 3.92 ms against 4 ms" in note
    assert "became slower meanwhile: the dense network took 8 ms at the start and 11 ms at the end" in moved
    assert "target: {latency: 0.5}" in moved
