"""Interleaved timing: candidates take turns within one session, so that drift of clocks and of other load cancels.

    warm up each ─► round 1: A A A | B B B B B ─► round 2: B B B B B | A A A ─► …

Each candidate has one time slice per round. The first run of a slice is not counted: it refills the caches after the previous
candidate. The order is reversed in every round, so that no candidate always follows the same one.

The memory addresses of a loaded network change its latency by several percent (Mytkowicz et al. 2009, "Producing Wrong Data
Without Doing Anything Obviously Wrong!", ASPLOS). So the timing has parts, between which `renew` may reload every network.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Action = Callable[[], object]
Clock = Callable[[], int]
Vector = npt.NDArray[np.float64]
NS_PER_MS = 1e6
NS_PER_S = 1e9
STEADY = 0.98
"""Warm-up ends when the median of the latest block is at least this fraction of the best earlier median."""
PATIENCE = 10
"""Limit of warm-up and of timing, in multiples of the requested time."""
PARTS = 5
"""Parts of the timing, with `renew` between them."""


@dataclass(frozen=True)
class TimingPlan:
    """How long to time each candidate.

    Attributes:
        seconds: Least timing per candidate; up to ten times as long until `min_runs` is reached.
        warmup_seconds: Shortest warm-up per candidate.
        min_runs: Fewest counted runs per candidate.
    """

    seconds: float
    warmup_seconds: float
    min_runs: int = 10

    @classmethod
    def of(cls, seconds: float, *, min_runs: int = 10) -> TimingPlan:
        """A plan whose warm-up takes a fifth of the timing."""
        return cls(seconds, seconds / 5, min_runs)


@dataclass(frozen=True)
class Warmup:
    """How one candidate was warmed up.

    Attributes:
        runs: Number of discarded runs.
        seconds: Duration.
        steady: Whether the median stopped falling; otherwise the time limit ended the warm-up.
    """

    runs: int
    seconds: float
    steady: bool


@dataclass(frozen=True, eq=False)
class Samples:
    """Times of one candidate.

    Attributes:
        milliseconds: Time of each run, in order, (n,).
        rounds: Round of each run, (n,).
        warmup: Warm-up before them.
    """

    milliseconds: Vector
    rounds: npt.NDArray[np.int64]
    warmup: Warmup

    def round_medians(self) -> Vector:
        """Median of each round, in order of the rounds."""
        return np.array([np.median(self.milliseconds[self.rounds == index]) for index in np.unique(self.rounds)])

    def spread(self) -> float:
        """Relative spread of repeated timings: (q75 − q25) ÷ median of the medians of the rounds."""
        low, middle, high = np.quantile(self.round_medians(), (0.25, 0.5, 0.75))
        return float((high - low) / middle)


def warm_up(action: Action, *, seconds: float, clock: Clock = time.perf_counter_ns) -> Warmup:
    """Run until the median time of a block stops falling, at least `seconds` and at most ten times as long."""
    start, runs, best = clock(), 0, float("inf")
    while True:
        block = _timed_block(action, at_least=3, budget_ns=seconds * NS_PER_S / 5, clock=clock)
        runs += len(block)
        median, elapsed = float(np.median(block)), (clock() - start) / NS_PER_S
        steady = median >= STEADY * best
        best = min(best, median)
        if elapsed >= seconds and (steady or elapsed >= PATIENCE * seconds):
            return Warmup(runs, elapsed, steady)


def interleave(
    actions: Mapping[str, Action],
    plan: TimingPlan,
    *,
    slice_ms: float = 40.0,
    clock: Clock = time.perf_counter_ns,
    after_round: Callable[[float], None] = lambda _: None,
    renew: Callable[[int], None] | None = None,
) -> dict[str, Samples]:
    """Time callables in turns.

    Args:
        actions: Callables by name; each call is one run.
        plan: Duration.
        slice_ms: Length of a time slice; at least one run is counted in each.
        clock: Monotonic clock, ns.
        after_round: Called after each round with the fraction done.
        renew: Called between the parts with the index of the next part, from 1; a short warm-up follows. Neither is counted.

    Returns:
        Times by name, in the order of `actions`.
    """
    with no_garbage_collection():
        warmups = {name: warm_up(action, seconds=plan.warmup_seconds, clock=clock) for name, action in actions.items()}
        times: dict[str, list[int]] = {name: [] for name in actions}
        rounds: dict[str, list[int]] = {name: [] for name in actions}
        spent = dict.fromkeys(actions, 0)
        round_index, part = 0, 0
        while not all(_enough(times[name], spent[name], plan) for name in actions):
            for name in list(actions)[:: 1 if round_index % 2 == 0 else -1]:
                actions[name]()
                block = _timed_block(actions[name], at_least=1, budget_ns=slice_ms * NS_PER_MS, clock=clock)
                times[name] += block
                rounds[name] += [round_index] * len(block)
                spent[name] += sum(block)
            round_index += 1
            done = min(1.0, min(spent.values()) / (plan.seconds * NS_PER_S))
            after_round(done)
            if renew is not None and part < int(done * PARTS) < PARTS:
                part = int(done * PARTS)
                renew(part)
                for action in actions.values():
                    _timed_block(action, at_least=3, budget_ns=plan.warmup_seconds * NS_PER_S / PARTS, clock=clock)
    return {
        name: Samples(np.array(times[name]) / NS_PER_MS, np.array(rounds[name]), warmups[name]) for name in actions
    }  # fmt: skip


def _enough(times: list[int], spent_ns: int, plan: TimingPlan) -> bool:
    limit = plan.seconds * NS_PER_S
    return spent_ns >= PATIENCE * limit or (spent_ns >= limit and len(times) >= plan.min_runs)


def _timed_block(action: Action, *, at_least: int, budget_ns: float, clock: Clock) -> list[int]:
    """Times in nanoseconds of runs until the budget is spent."""
    times: list[int] = []
    spent = 0
    while len(times) < at_least or spent < budget_ns:
        start = clock()
        action()
        duration = clock() - start
        times.append(duration)
        spent += max(duration, 1)
    return times


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now and not within the block, where it would lengthen a run."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
