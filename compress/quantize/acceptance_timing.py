"""Timing of the files of an acceptance test, in turns, at every size of free axes that the network serves."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from compress.backends.feeds import fit_feeds
from compress.backends.iterate_split import input_arrays
from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Feeds, FileRunner
from compress.core.entries import Row
from compress.core.signature import Signature
from compress.core.stage import Context
from compress.profile.latency.interleave import TimingPlan
from compress.profile.latency.timing import Timing, speedup, time_runners
from compress.profile.served_sizes import served_feeds

FLOAT, QUANTIZED = "float", "quantized"
Candidate = tuple[str, str]
"""`float` or `quantized`, and the runtime."""


@dataclass(frozen=True)
class AcceptanceCriteria:
    """Limits and settings of the measurement.

    Attributes:
        max_loss: Largest loss of the metric; None for the default, see `AcceptanceSettings`.
        seconds: Timing of each file in each runtime.
        threads: Threads within an operator.
        batch: Batch size of the timing.
        score_batch: Batch size of the evaluation.
        signature: Inputs of the network with the sizes of free axes; None times a batch of the validation split.
    """

    max_loss: float | None
    seconds: float
    threads: int = 1
    batch: int = 1
    score_batch: int = 32
    signature: Signature | None = None


def time_by_size(
    runners: Mapping[Candidate, FileRunner], criteria: AcceptanceCriteria, context: Context
) -> dict[str, dict[Candidate, Timing]]:
    """Timings of all candidates by description of the sizes of free axes; the first decides.

    A session that ran at one size plans its memory for it, so every size has sessions of its own.
    """
    feeds: Mapping[str, Feeds] = {} if criteria.signature is None else served_feeds(criteria.signature, criteria.batch)
    feeds = feeds or {"": input_arrays(next(iter(context.data.validation.ordered(criteria.batch))))}
    with ExitStack() as stack:
        named: dict[tuple[str, Candidate], FileRunner] = {}
        for index, size in enumerate(feeds):
            for candidate, runner in runners.items():
                path, runtime = Path(runner.path), candidate[1]
                own = stack.enter_context(open_runner(runtime, path, threads=criteria.threads)) if index else runner
                named[size, candidate] = own
        timings = time_runners(
            {_name(*key): runner for key, runner in named.items()},
            {_name(*key): fit_feeds(feeds[key[0]], runner.shapes(), " ".join(key[1])) for key, runner in named.items()},
            TimingPlan.of(criteria.seconds),
            batch=criteria.batch,
            reporter=context.reporter,
        )
    return {size: {candidate: timings[_name(size, candidate)] for candidate in runners} for size in feeds}


def _name(size: str, candidate: Candidate) -> str:
    return " ".join((*candidate, size)).rstrip()


def rows_by_size(by_size: Mapping[str, Mapping[Candidate, Timing]], fastest: Mapping[str, str]) -> tuple[Row, ...]:
    """Latency of each candidate at each size, and the speed-up over the fastest float network."""
    float_key = FLOAT, fastest[FLOAT]
    return tuple(
        {
            "sizes": size,
            "network": candidate[0],
            "runtime": candidate[1],
            "latency_p50_ms": timing.p50.model_dump(mode="json"),
            "speedup": None if candidate == float_key else speedup(timings[float_key], timing).model_dump(mode="json"),
        }
        for size, timings in by_size.items()
        for candidate, timing in timings.items()
    )
