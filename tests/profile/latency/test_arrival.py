import time

import numpy as np
import pytest

from compress.profile.latency import arrival
from compress.profile.latency.arrival import FEWEST, RUNS_IN_TURN, time_arrivals
from compress.profile.latency.interleave import Samples, Warmup
from compress.profile.latency.timing import Timing, speedup


class VirtualTime:
    """Stands for the module `time`: only sleeping and inferences make it pass."""

    def __init__(self):
        self.now_ns = 0

    def perf_counter_ns(self):
        return self.now_ns

    def perf_counter(self):
        return self.now_ns / 1e9

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.mark.parametrize(("inference_ms", "gap_ms"), [(1, 20), (19, 20), (25, 40), (45, 60)])
def test_periodic_inputs_arrive_at_their_rate_and_late_ones_are_left_out(inference_ms, gap_ms, monkeypatch):
    clock, starts = VirtualTime(), []
    monkeypatch.setattr(arrival, "time", clock)
    monkeypatch.setattr(arrival, "MOST_BYTES", arrival.LEAST_BYTES)
    monkeypatch.setattr(arrival, "MOST", 20)

    def infer():
        starts.append(clock.now_ns / 1e6)
        clock.sleep(inference_ms / 1000)

    samples = time_arrivals({"a": infer}, rate_hz=50.0, seconds=0.2)["periodic"]["a"]
    calls = len(samples.milliseconds) // RUNS_IN_TURN * (RUNS_IN_TURN + 1)
    assert np.diff(starts[:calls]) == pytest.approx(gap_ms, abs=1e-3)
    assert samples.milliseconds == pytest.approx(inference_ms, abs=1e-3)


def test_files_take_turns_and_the_first_call_of_a_turn_is_not_counted():
    calls = []
    actions = {name: (lambda name=name: calls.append(name)) for name in ("a", "b")}
    samples = time_arrivals(actions, rate_hz=1000.0, seconds=0.01)
    assert set(samples) == {"periodic", "cold"}
    turn = RUNS_IN_TURN + 1
    assert calls[: 4 * turn] == ["a"] * turn + ["b"] * 2 * turn + ["a"] * turn
    for by_name in samples.values():
        for taken in by_name.values():
            assert len(taken.milliseconds) == len(taken.rounds) >= FEWEST
            assert len(taken.milliseconds) % RUNS_IN_TURN == 0


def test_cold_caches_make_a_read_of_memory_slower():
    data = np.ones(1 << 17, np.uint8)
    samples = time_arrivals({"read": data.sum}, rate_hz=1000.0, seconds=0.3)
    hot = []
    for _ in range(200):
        start = time.perf_counter_ns()
        data.sum()
        hot.append((time.perf_counter_ns() - start) / 1e6)
    assert np.median(samples["cold"]["read"].milliseconds) > np.median(hot)


def test_speedups_are_those_of_one_pattern():
    def timing(scale):
        numbers = np.arange(60)
        hot = Samples(np.full(60, 1.0 * scale), numbers // 5, Warmup(1, 0.0, True))
        cold = Samples(np.full(60, 3.0 + scale), numbers // 5, Warmup(1, 0.0, True))
        return Timing(hot, {"runtime": "r"}, "here").with_arrivals({"cold": cold}, rate_hz=30.0)

    slow, fast = timing(4.0), timing(1.0)
    assert speedup(slow, fast).value == pytest.approx(4.0)
    assert speedup(slow.arrivals["cold"], fast.arrivals["cold"]).value == pytest.approx(7 / 4)
    assert "caches filled with other data" in fast.arrivals["cold"].p50.detail
