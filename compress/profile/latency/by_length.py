"""Latency, throughput and memory by sequence length: all networks and lengths of a batch size in one interleaved session."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from compress.backends.onnxruntime_runner import provider_of
from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Feeds, Runner, pinned
from compress.core.errors import ConversionError, DeviceError
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import LENGTHS, LengthRow, Metrics, Quantity
from compress.core.signature import BATCH, Signature
from compress.core.statistics import runs_needed
from compress.profile.latency.interleave import PARTS, TimingPlan
from compress.profile.latency.timing import Timing, speedup, time_runners
from compress.profile.memory import memory
from compress.profile.settings import MeasurementSettings

PERCENTILES = (50.0, 95.0, 99.0)
UNITS = {
    **{f"latency_p{percent:g}_ms": "ms" for percent in PERCENTILES},
    "throughput_per_s": "1/s",
    "tokens_per_s": "1/s",
    "memory_bytes": "bytes",
}
"""Unit of each quantity of a row."""
ALLOWED = 4.0
"""Time limit of a batch size, as a multiple of the requested seconds of all its files and lengths; warm-ups and runs that are
not counted take a half of the requested time for fast networks, and more for runs longer than a time slice."""
SLICE_S = 0.04
"""Time slice of `interleave`."""

FeedsAt = Callable[[str, int, int], Feeds]
"""Inputs of a subject for a batch size and a length."""


@dataclass(frozen=True)
class LengthGrid:
    """Points to measure.

    Attributes:
        axis: Name of the free axis of tokens.
        lengths: Sizes of the axis, increasing.
        batches: Batch sizes.
        most: Largest length that the network takes; None if it is not known.
    """

    axis: str
    lengths: tuple[int, ...]
    batches: tuple[int, ...] = (1,)
    most: int | None = None


def length_axis(signature: Signature) -> str | None:
    """The only free axis besides the batch, if an input of integers has it, such as that of token indices; else None."""
    free = [axis for axis in signature.free_axes if axis != BATCH]
    of_tokens = {axis for spec in signature.inputs if "int" in spec.dtype for axis in spec.sample_shape}
    return free[0] if len(free) == 1 and free[0] in of_tokens else None


def length_grid(signature: Signature, lengths: Sequence[int], batches: Sequence[int]) -> LengthGrid | None:
    """Points for a network; None if it has no free axis of tokens.

    The default lengths end at the largest one that the network takes. Other lengths stay in the list, and those that it does
    not take get rows with the reason.

    Args:
        signature: Signature of the network.
        lengths: Lengths of the user, or `LENGTHS`.
        batches: Batch sizes besides 1.
    """
    axis = length_axis(signature)
    if axis is None or not lengths:
        return None
    most = signature.sizes[axis].most if axis in signature.sizes else None
    if tuple(lengths) == LENGTHS and most is not None:
        lengths = [*(length for length in LENGTHS if length < most), min(most, LENGTHS[-1])]
    return LengthGrid(axis, tuple(sorted(set(lengths))), tuple(sorted({1, *batches})), most)


def measure_lengths(
    files: Mapping[str, Path],
    feeds_at: FeedsAt,
    grid: LengthGrid,
    plan: MeasurementSettings,
    *,
    device: str,
    reporter: Reporter,
) -> tuple[LengthRow, ...]:
    """Measure files at every length and batch size on this machine.

    All files and lengths of a batch size are timed in turns. Lengths are added from the shortest one while their predicted time
    is within `ALLOWED` times the requested one; longer ones are not measured, and their rows have the reason.

    Args:
        files: ONNX files by subject; the speed-ups are those of `artifact`, if there is one.
        feeds_at: Inputs by subject, batch size and length.
        grid: Points.
        plan: Settings; `seconds` is the timing per file and point, without warm-up.
        device: Name of the device profile, for the rows.
        reporter: Shows progress bars.

    Raises:
        ConversionError: A file cannot be loaded.
        DeviceError: The runtime or a processor to pin to does not exist.
    """
    rows: list[LengthRow] = []
    with pinned(plan.affinity):
        for batch in grid.batches:
            rows += _Batch(files, feeds_at, grid, plan, batch).measure(device, reporter)
    return tuple(rows)


@dataclass
class _Batch:
    """The points of one batch size.

    Attributes:
        feeds: Inputs of the points to time, by subject and length.
        reasons: Why other points are not timed.
    """

    files: Mapping[str, Path]
    feeds_at: FeedsAt
    grid: LengthGrid
    plan: MeasurementSettings
    batch: int
    feeds: dict[tuple[str, int], Feeds] = field(default_factory=dict)
    reasons: dict[tuple[str, int], str] = field(default_factory=dict)

    def measure(self, device: str, reporter: Reporter) -> list[LengthRow]:
        """Rows of all points, by length and subject."""
        with ExitStack() as stack:
            runners: dict[str, Runner] = {
                name: stack.enter_context(open_runner(self.plan.runtime, path, threads=self.plan.threads))
                for name, path in self.files.items()
            }
            self._choose(runners)
            names = {point: f"{point[0]} {point[1]}" for point in self.feeds}
            by_name = (
                time_runners(
                    {name: runners[subject] for (subject, _), name in names.items()},
                    {name: self.feeds[point] for point, name in names.items()},
                    self._timing_plan(),
                    batch=self.batch,
                    reporter=reporter,
                )
                if names
                else {}
            )
            runtimes = {name: runner.describe()["runtime"] for name, runner in runners.items()}
        timings = {point: by_name[name] for point, name in names.items()}
        peaks = self._peaks(reporter)
        return [
            LengthRow(
                subject=subject,
                device=device,
                runtime=runtimes[subject],
                axis=self.grid.axis,
                length=length,
                batch=self.batch,
                quantities=self._quantities((subject, length), timings, peaks),
                local=True,
            )
            for length in self.grid.lengths
            for subject in self.files
        ]

    def _timing_plan(self) -> TimingPlan:
        """The settings with the fewest runs from which a median has an interval."""
        return replace(self.plan.timing, min_runs=runs_needed(0.5))

    def _choose(self, runners: Mapping[str, Runner]) -> None:
        """Run each point once, and decide by that which ones are timed."""
        left = ALLOWED * self.plan.seconds * len(self.files) * len(self.grid.lengths)
        too_long = ""
        for length in self.grid.lengths:
            if self.grid.most is not None and length > self.grid.most:
                reason = gettext("the network takes at most {most} tokens", most=self.grid.most)
                self.reasons |= {(name, length): reason for name in runners}
                continue
            if too_long:
                self.reasons |= {(name, length): too_long for name in runners}
                continue
            costs = {name: cost for name, runner in runners.items() if (cost := self._try(runner, name, length)) is not None}
            if (needed := sum(costs.values())) > left:
                too_long = gettext(
                    "out of time: length {length} needs {needed:.1f} s, {left:.1f} s are left; raise `seconds`",
                    length=length,
                    needed=needed,
                    left=left,
                )
                self.reasons |= {(name, length): too_long for name in costs}
                for name in costs:
                    del self.feeds[name, length]
            left -= needed

    def _try(self, runner: Runner, name: str, length: int) -> float | None:
        """Time that the timing of a point takes, s; None if it does not run."""
        try:
            feeds = self.feeds_at(name, self.batch, length)
            start = time.perf_counter()
            runner.run(feeds)
            run_s = time.perf_counter() - start
        except (ConversionError, DeviceError) as error:
            self.reasons[name, length] = gettext("the file does not run at this length: {error}", error=error)
            return None
        self.feeds[name, length] = feeds
        return _cost_s(run_s, self._timing_plan())

    def _peaks(self, reporter: Reporter) -> dict[tuple[str, int], Quantity]:
        """Peak memory by point, of a process per subject that runs the lengths from the shortest one."""
        provider = provider_of(self.plan.runtime)
        peaks: dict[tuple[str, int], Quantity] = {}
        with reporter.bar(gettext("measuring memory"), len(self.files)) as bar:
            for name, path in self.files.items():
                points = [(name, length) for length in self.grid.lengths if (name, length) in self.feeds]
                peaks |= _peaks(path, points, [self.feeds[point] for point in points], self.plan.threads, provider)
                bar.advance(note=name)
        return peaks

    def _quantities(
        self, point: tuple[str, int], timings: Mapping[tuple[str, int], Timing], peaks: Mapping[tuple[str, int], Quantity]
    ) -> Metrics:
        if point not in timings:
            return {name: Quantity.missing(unit, self.reasons[point]) for name, unit in UNITS.items()}
        subject, length = point
        timing = timings[point]
        quantities = {f"latency_p{percent:g}_ms": value for percent, value in timing.percentiles(PERCENTILES).items()}
        quantities |= {"throughput_per_s": timing.throughput, "tokens_per_s": times(timing.throughput, length)}
        quantities["memory_bytes"] = peaks[point]
        others = [name for name in self.files if name != subject and (name, length) in timings] if subject == "artifact" else []
        return quantities | {f"speedup_vs_{name}": speedup(timings[name, length], timing) for name in others}


def _cost_s(run_s: float, plan: TimingPlan) -> float:
    """Predicted time of a point from the time of a run: warm-up, counted runs, uncounted first runs of slices, reloads."""
    warmup = max(plan.warmup_seconds, 3 * run_s)
    counted = max(plan.seconds, plan.min_runs * run_s)
    per_slice = max(1.0, SLICE_S / run_s)
    return warmup + counted * (1 + 1 / per_slice) + (PARTS - 1) * max(3 * run_s, plan.warmup_seconds / PARTS)


def _peaks(
    path: Path, points: Sequence[tuple[str, int]], feeds: Sequence[Feeds], threads: int, provider: str
) -> dict[tuple[str, int], Quantity]:
    if not points:
        return {}
    try:
        peaks = memory.peaks(path, feeds, threads=threads, provider=provider)
    except DeviceError as error:
        return {point: Quantity.missing("bytes", str(error)) for point in points}
    detail = gettext("peak resident in a new process that ran the shorter lengths before")
    return {point: Quantity.measured(peak, "bytes", detail, runs=1) for point, peak in zip(points, peaks, strict=True)}


def times(rate: Quantity, factor: float) -> Quantity:
    """A rate multiplied by a number, with its interval: samples per second × tokens per sample."""
    scaled = {name: value * factor for name in ("value", "low", "high") if (value := getattr(rate, name)) is not None}
    return rate.model_copy(update=scaled)
