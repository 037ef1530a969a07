"""Latency of ONNX files on this machine: one session, interleaved, warmed up, with percentiles that enough runs support.

A percentile is given with its 95 % interval only when enough runs stand behind it (see `statistics.runs_needed`); else it is
"not measured", with the number of runs that it needs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from compress.backends.feeds import fit_feeds
from compress.backends.runner_protocol import Feeds, Runner, reload
from compress.config.devices import host
from compress.core.bootstrap import ratio_interval
from compress.core.progress import NullReporter, Reporter
from compress.core.record import Arrival, Quantity
from compress.core.statistics import drifting_percentile_interval, drifting_percentile_intervals, runs_needed
from compress.profile.latency.interleave import Samples, TimingPlan, Vector, Warmup, interleave

PERCENTILES = (50.0, 90.0, 99.0)
"""Percentiles whose intervals are always made together, so that one of them alone has the same interval as in a table."""
DEFAULT_PLAN = TimingPlan.of(1.0)
STEPS = 100
"""Ticks of the progress bar."""
LATENCY_PARTS = 3
"""Parts by which the interval of a latency allows for drift. On a shared virtual machine the intervals of 72 successive pairs
of 2 s measurements met in 70 with three parts and in 64 with five. Ratios, in which drift cancels, keep to five."""


@dataclass(frozen=True, eq=False)
class Timing:
    """What one file took.

    Attributes:
        samples: Its times.
        settings: Runtime settings, by name.
        detail: Where and how, in one line.
        batch: Samples in one run.
        processor_share: Processor time ÷ wall time of the session; well under 1 with one thread means that other
            processes took the processor away.
        arrivals: Timings with other arrival patterns, by pattern; see `arrival`.
    """

    samples: Samples
    settings: Mapping[str, str]
    detail: str
    batch: int = 1
    processor_share: float = 1.0
    arrivals: Mapping[Arrival, Timing] = field(default_factory=dict)

    def with_arrivals(self, samples: Mapping[Arrival, Samples], *, rate_hz: float) -> Timing:
        """The same with timings of other arrival patterns.

        Args:
            samples: By pattern.
            rate_hz: Inputs per second of the periodic pattern.
        """
        how = {"periodic": f"{rate_hz:g} inputs per second", "cold": "caches filled with other data before each inference"}
        arrivals = {
            pattern: Timing(taken, self.settings, f"{self.detail}; {how[pattern]}", self.batch)
            for pattern, taken in samples.items()
        }
        return replace(self, arrivals=arrivals)

    @property
    def milliseconds(self) -> Vector:
        """Time of each run, (n,)."""
        return self.samples.milliseconds

    @property
    def warmup(self) -> Warmup:
        """Runs before the counted ones."""
        return self.samples.warmup

    @property
    def p50(self) -> Quantity:
        """Median latency, ms."""
        return self.percentile(50)

    def percentile(self, percent: float) -> Quantity:
        """One percentile; see `percentiles`."""
        return self.percentiles((percent,))[percent]

    def percentiles(self, percents: Iterable[float]) -> dict[float, Quantity]:
        """Percentiles with intervals that allow for drift and do not contradict each other; absent with too few runs."""
        requested = [*percents]
        quantiles = {percent: percent / 100 for percent in (*PERCENTILES, *requested)}
        intervals = drifting_percentile_intervals(self.milliseconds, quantiles.values(), parts=LATENCY_PARTS)
        return {percent: self._percentile(percent, intervals[quantiles[percent]]) for percent in requested}

    def _percentile(self, percent: float, interval: tuple[float, float] | None) -> Quantity:
        runs = len(self.milliseconds)
        if interval is None:
            needed = runs_needed(percent / 100)
            return Quantity.missing(
                "ms", f"p{percent:g} needs {needed} runs for an interval, {runs} were made; raise `seconds`"
            )
        value = float(np.quantile(self.milliseconds, percent / 100))
        return Quantity.measured(value, "ms", self.detail, interval=interval, runs=runs)

    @property
    def throughput(self) -> Quantity:
        """Samples a second, one run after the other, from the median."""
        p50 = self.p50
        if p50.value is None or p50.low is None or p50.high is None:
            return Quantity.missing("1/s", p50.detail)
        rate = 1000.0 * self.batch
        return Quantity.measured(
            rate / p50.value, "1/s", self.detail, interval=(rate / p50.high, rate / p50.low), runs=p50.runs
        )  # fmt: skip


def speedup(slow: Timing, fast: Timing) -> Quantity:
    """How many times faster `fast` is: ratio of medians, drift cancelled by comparing within rounds.

    Each round gives one ratio of medians; the value is their median with an interval that allows for drift. With fewer than six
    shared rounds it is the ratio of the medians over all runs with a bootstrap interval.
    """
    ours, theirs = fast.samples.round_medians(), slow.samples.round_medians()
    detail = f"ratio of median latencies, interleaved; {fast.detail}"
    if len(ours) == len(theirs) >= runs_needed(0.5):
        ratios = theirs / ours
        interval = drifting_percentile_interval(ratios, 0.5)
        return Quantity.measured(float(np.median(ratios)), "1", detail, interval=interval, runs=len(ratios))
    if min(len(slow.milliseconds), len(fast.milliseconds)) < 2:
        return Quantity.missing("1", "a ratio needs two runs of each; raise `seconds`")
    value, low, high = ratio_interval(slow.milliseconds, fast.milliseconds)
    return Quantity.measured(value, "1", detail, interval=(low, high), runs=len(fast.milliseconds))


def measure(
    files: Mapping[str, Path],
    inputs: Feeds,
    plan: TimingPlan = DEFAULT_PLAN,
    *,
    batch: int = 1,
    threads: int = 1,
    reporter: Reporter | None = None,
    runtimes: Mapping[str, str] | None = None,
) -> dict[str, Timing]:
    """Time ONNX files on the same inputs, all in one interleaved session.

    Args:
        files: ONNX files by name.
        inputs: By name; a file with one input takes that of the data, whatever its name.
        plan: How long.
        batch: Samples in one run.
        threads: Within an operator.
        reporter: Shows a bar.
        runtimes: As in a device profile, by name of the file; ONNX Runtime where none is given.

    Raises:
        ConversionError: A file cannot be loaded, or has other inputs.
    """
    from compress.backends.open_runner import open_runner  # which itself times

    named = runtimes or {}
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_runner(named.get(name, "onnxruntime"), path, threads=threads))
            for name, path in files.items()
        }
        feeds = {name: fit_feeds(inputs, runner.shapes(), runner.path) for name, runner in runners.items()}
        return time_runners(runners, feeds, plan, batch=batch, reporter=reporter)


def time_runners(
    runners: Mapping[str, Runner],
    feeds: Mapping[str, Feeds],
    plan: TimingPlan,
    *,
    batch: int | Mapping[str, int],
    reporter: Reporter | None = None,
) -> dict[str, Timing]:
    """Time loaded models, each on its own inputs; see `measure`. `batch` is samples in one run, of all or by name.

    Files of runtimes that load fast are loaded again four times during the measurement; see `interleave`.

    Raises:
        ConversionError: Inputs do not fit; raised before anything is timed.
        DeviceError: A device ran out of memory.
    """
    for name, runner in runners.items():
        runner.run(feeds[name])
    actions = {name: partial(runner.run, feeds[name]) for name, runner in runners.items()}
    with (reporter or NullReporter()).bar("measuring latency", STEPS) as bar:
        shown = 0

        def show(fraction: float) -> None:
            nonlocal shown
            bar.advance(int(fraction * STEPS) - shown)
            shown = int(fraction * STEPS)

        wall, processor = time.perf_counter(), time.process_time()
        taken = interleave(actions, plan, after_round=show, renew=lambda part: reload(runners.values(), part))
    share = (time.process_time() - processor) / (time.perf_counter() - wall)
    settings = {name: runner.describe() for name, runner in runners.items()}
    sizes = dict.fromkeys(actions, batch) if isinstance(batch, int) else batch
    return {
        name: Timing(taken[name], settings[name], _detail(settings[name], sizes[name], len(actions)), sizes[name], share)
        for name in actions
    }


def _detail(settings: Mapping[str, str], batch: int, together: int) -> str:
    machine = host().hardware
    threads = settings.get("threads")
    on = settings.get("device") or (machine.cpu if machine else "this machine")
    with_threads = f"{threads} thread{'s' * (threads != '1')}, " if threads else ""
    return f"{on}, {settings['runtime']}, {with_threads}batch {batch}, {together} file{'s' * (together != 1)} interleaved"
