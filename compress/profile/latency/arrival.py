"""Latency by arrival pattern of the inputs; in a product an inference is slower than in a benchmark loop.

    back_to_back   no pause: warm caches, high clocks (MLPerf Inference: single-stream); see `interleave`
    periodic       one input every 1/rate seconds, as from a camera: the processor idles in between
    cold           a buffer larger than the caches is written before each inference

This module measures the last two. Files take turns of a few calls; the first call of a turn is not counted. The module also
runs on devices over SSH and therefore needs only numpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from compress.config.devices.cpu_info import caches
from compress.profile.latency.interleave import NS_PER_MS, NS_PER_S, Action, Samples, Warmup, no_garbage_collection

Pattern = Literal["periodic", "cold"]
RUNS_IN_TURN = 3
FEWEST, MOST = 6, 200
"""Limits of the runs per file; an interval of the median needs at least six."""
LEAST_BYTES, MOST_BYTES = 16 << 20, 64 << 20
"""Limits of the buffer that evicts the caches; between them it has twice the size of the last level."""


def time_arrivals(actions: Mapping[str, Action], *, rate_hz: float, seconds: float) -> dict[Pattern, dict[str, Samples]]:
    """Time callables with periodic inputs and with cold caches.

    Args:
        actions: Callables by name; each call is one inference.
        rate_hz: Inputs per second of the periodic pattern.
        seconds: Approximate time per callable and pattern.

    Returns:
        Times by pattern (`periodic`, `cold`) and name.
    """
    ticker, eviction = _Ticker(rate_hz), _CacheEviction()
    with no_garbage_collection():
        return {
            "periodic": _take_turns(actions, ticker.wait, runs=_bounded(seconds * rate_hz)),
            "cold": _take_turns(actions, eviction.run, runs=_bounded(seconds / _duration_s(eviction.run))),
        }


def _bounded(runs: float) -> int:
    return int(np.clip(round(runs), FEWEST, MOST))


def _duration_s(action: Action) -> float:
    start = time.perf_counter()
    action()
    return max(time.perf_counter() - start, 1e-6)


def _take_turns(actions: Mapping[str, Action], prepare: Callable[[], None], *, runs: int) -> dict[str, Samples]:
    times: dict[str, list[int]] = {name: [] for name in actions}
    rounds = -(-runs // RUNS_IN_TURN)
    for round_index in range(rounds):
        for name in list(actions)[:: 1 if round_index % 2 == 0 else -1]:
            for call in range(RUNS_IN_TURN + 1):
                prepare()
                start = time.perf_counter_ns()
                actions[name]()
                if call > 0:
                    times[name].append(time.perf_counter_ns() - start)
    round_indices = np.repeat(np.arange(rounds), RUNS_IN_TURN)
    warmup = Warmup(rounds, 0.0, steady=True)
    return {name: Samples(np.array(series) / NS_PER_MS, round_indices, warmup) for name, series in times.items()}


class _Ticker:
    """Sleeps until the next tick of a fixed rate; ticks during an inference are skipped."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = NS_PER_S / rate_hz
        self._next = float(time.perf_counter_ns())

    def wait(self) -> None:
        now = time.perf_counter_ns()
        passed = max(0.0, now - self._next)
        self._next += self._period_ns * (1 + passed // self._period_ns)
        time.sleep((self._next - now) / NS_PER_S)


class _CacheEviction:
    """Evicts the caches by writing a buffer of twice the size of the last level."""

    def __init__(self, cpu: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> None:
        largest = max(caches(cpu).values(), default=0)
        self._buffer = np.zeros(int(np.clip(2 * largest, LEAST_BYTES, MOST_BYTES)), np.uint8)
        self._value = 0

    def run(self) -> None:
        self._value = (self._value + 1) % 256
        self._buffer.fill(self._value)
