"""Latency of ONNX files on this machine, timed in turns within one session.

A percentile has a 95 % interval. With too few runs for one (see `statistics.runs_needed`) the percentile is "not measured".
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
from compress.core.counted import files_in_turns, threads_text
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.core.record import Arrival, Quantity
from compress.core.statistics import drifting_percentile_interval, drifting_percentile_intervals, runs_needed
from compress.profile.latency.interleave import Samples, TimingPlan, Vector, Warmup, interleave

PERCENTILES = (50.0, 90.0, 99.0)
"""Percentiles whose intervals are always computed together, so that the interval of one does not depend on the request."""
DEFAULT_PLAN = TimingPlan.of(1.0)
STEPS = 100
"""Steps of the progress bar."""
LATENCY_PARTS = 3
"""Parts of a series by which the interval of a latency allows for drift. On a shared virtual machine, the intervals of
successive 2 s measurements overlapped in 70 of 72 pairs with three parts and in 64 with five. Drift cancels in ratios, which
use five."""


@dataclass(frozen=True, eq=False)
class Timing:
    """Latency of one file.

    Attributes:
        samples: Time of each run.
        settings: Runtime settings by name.
        detail: Machine, runtime, threads and batch, in one line.
        batch: Samples per run.
        processor_share: Processor time ÷ wall time of the session; well below 1 with one thread, other processes used the
            processor.
        arrivals: Timings with other arrival patterns, by pattern; see `arrival`.
    """

    samples: Samples
    settings: Mapping[str, str]
    detail: str
    batch: int = 1
    processor_share: float = 1.0
    arrivals: Mapping[Arrival, Timing] = field(default_factory=dict)

    def with_arrivals(self, samples: Mapping[Arrival, Samples], *, rate_hz: float) -> Timing:
        """A copy with timings of other arrival patterns.

        Args:
            samples: Times by pattern.
            rate_hz: Inputs per second of the periodic pattern.
        """
        how = {
            "periodic": gettext("{rate_hz:g} inputs per second", rate_hz=rate_hz),
            "cold": gettext("caches filled with other data before each inference"),
        }
        arrivals = {
            pattern: Timing(times, self.settings, f"{self.detail}; {how[pattern]}", self.batch)
            for pattern, times in samples.items()
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
        """Percentiles with mutually consistent intervals that allow for drift; missing with too few runs."""
        requested = [*percents]
        quantiles = {percent: percent / 100 for percent in (*PERCENTILES, *requested)}
        intervals = drifting_percentile_intervals(self.milliseconds, quantiles.values(), parts=LATENCY_PARTS)
        return {percent: self._percentile(percent, intervals[quantiles[percent]]) for percent in requested}

    def _percentile(self, percent: float, interval: tuple[float, float] | None) -> Quantity:
        runs = len(self.milliseconds)
        if interval is None:
            needed = runs_needed(percent / 100)
            return Quantity.missing(
                "ms",
                gettext(
                    "p{percent:g} needs {needed} runs for an interval, {runs} were timed; raise `seconds`",
                    percent=percent,
                    needed=needed,
                    runs=runs,
                ),
            )
        value = float(np.quantile(self.milliseconds, percent / 100))
        return Quantity.measured(value, "ms", self.detail, interval=interval, runs=runs)

    @property
    def throughput(self) -> Quantity:
        """Samples per second of back-to-back runs, from the median latency."""
        p50 = self.p50
        if p50.value is None or p50.low is None or p50.high is None:
            return Quantity.missing("1/s", p50.detail)
        rate = 1000.0 * self.batch
        return Quantity.measured(
            rate / p50.value, "1/s", self.detail, interval=(rate / p50.high, rate / p50.low), runs=p50.runs
        )  # fmt: skip


def speedup(slow: Timing, fast: Timing) -> Quantity:
    """Speed-up of `fast` over `slow`: the median over rounds of the ratio of medians, with an interval that allows for drift.

    Ratios within a round cancel drift. With fewer than six common rounds the speed-up is the ratio of the medians over all
    runs, with a bootstrap interval.
    """
    fast_ms, slow_ms = fast.samples.round_medians(), slow.samples.round_medians()
    detail = gettext("ratio of median latencies, interleaved; {detail}", detail=fast.detail)
    if len(fast_ms) == len(slow_ms) >= runs_needed(0.5):
        ratios = slow_ms / fast_ms
        interval = drifting_percentile_interval(ratios, 0.5)
        return Quantity.measured(float(np.median(ratios)), "1", detail, interval=interval, runs=len(ratios))
    if min(len(slow.milliseconds), len(fast.milliseconds)) < 2:
        return Quantity.missing("1", gettext("a ratio needs at least two runs of each file; raise `seconds`"))
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
    """Time ONNX files on the same inputs in one interleaved session.

    Args:
        files: ONNX files by name.
        inputs: Arrays by input name; names are ignored where the file and the data have one input each.
        plan: Duration.
        batch: Samples per run.
        threads: Threads within an operator.
        reporter: Shows a progress bar.
        runtimes: Runtime by name of the file, as in a device profile; ONNX Runtime by default.

    Raises:
        ConversionError: A file cannot be loaded, or has other inputs.
    """
    from compress.backends.open_runner import open_runner

    runtime_by_name = runtimes or {}
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_runner(runtime_by_name.get(name, "onnxruntime"), path, threads=threads))
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
    """Time loaded models, each on its own inputs; see `measure`. `batch` is the batch size of all models, or by name.

    A model can have several names, each with inputs of its own. Models of runtimes that load fast are reloaded four times
    during the timing; see `interleave`.

    Raises:
        ConversionError: Inputs do not fit; raised before the timing.
        DeviceError: Memory ran out.
    """
    for name, runner in runners.items():
        runner.run(feeds[name])
    distinct = [*{id(runner): runner for runner in runners.values()}.values()]
    actions = {name: partial(runner.run, feeds[name]) for name, runner in runners.items()}
    with (reporter or NullReporter()).bar(gettext("measuring latency"), STEPS) as bar:
        shown = 0

        def show(fraction: float) -> None:
            nonlocal shown
            bar.advance(int(fraction * STEPS) - shown)
            shown = int(fraction * STEPS)

        wall, processor = time.perf_counter(), time.process_time()
        samples = interleave(actions, plan, after_round=show, renew=lambda part: reload(distinct, part))
    share = (time.process_time() - processor) / (time.perf_counter() - wall)
    settings = {name: runner.describe() for name, runner in runners.items()}
    sizes = dict.fromkeys(actions, batch) if isinstance(batch, int) else batch
    return {
        name: Timing(samples[name], settings[name], _detail(settings[name], sizes[name], len(distinct)), sizes[name], share)
        for name in actions
    }


def _detail(settings: Mapping[str, str], batch: int, files: int) -> str:
    machine = host().hardware
    threads = settings.get("threads")
    on = settings.get("device") or (machine.cpu if machine else gettext("this machine"))
    with_threads = gettext("{threads}, ", threads=threads_text(threads)) if threads else ""
    return gettext(
        "{on}, {runtime}, {with_threads}batch {batch}, {files}",
        on=on,
        runtime=settings["runtime"],
        with_threads=with_threads,
        batch=batch,
        files=files_in_turns(files),
    )
