"""Batch and thread sweeps: latency of one file at every batch size and thread count, in one interleaved session."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from compress.backends.open_runner import open_runner
from compress.backends.runner_protocol import Feeds, pinned
from compress.config.devices import Device
from compress.core.entries import Row
from compress.core.errors import ConversionError, DeviceError
from compress.core.fact import Fact
from compress.core.language import message_of
from compress.core.progress import NullReporter, Reporter
from compress.profile.latency.timing import Timing, time_runners
from compress.profile.settings import MeasurementSettings


def sweep(
    path: Path,
    feeds: Callable[[int], Feeds],
    batches: Sequence[int],
    thread_counts: Sequence[int],
    plan: MeasurementSettings,
    *,
    reporter: Reporter,
) -> tuple[tuple[Row, ...], tuple[Fact, ...]]:
    """Time every batch size at every thread count, each in an inference session of its own.

    Points of one batch size share their inputs.

    Args:
        path: ONNX file.
        feeds: Returns inputs for a batch size.
        batches: Batch sizes.
        thread_counts: Threads within an operator.
        plan: Duration and runtime; its thread count is not used.
        reporter: Shows a progress bar.

    Returns:
        Rows, one per batch size and thread count: `batch`, `threads`, `runs`, and the quantities `latency_p50_ms` and
        `throughput_per_s` as JSON; facts on the batch sizes at which the file does not run or memory is too small.

    Raises:
        ConversionError: The file cannot be loaded.
        DeviceError: Its input shapes are not known.
    """
    feeds_by_batch, skipped = _feeds_by_batch(path, feeds, batches, plan)
    with ExitStack() as stack:
        points = {
            f"{batch} × {threads}": (batch, threads, stack.enter_context(open_runner(plan.runtime, path, threads=threads)))
            for batch in feeds_by_batch
            for threads in dict.fromkeys(thread_counts)
        }
        if not points:
            return (), skipped
        timings = time_runners(
            {name: runner for name, (_, _, runner) in points.items()},
            {name: feeds_by_batch[batch] for name, (batch, _, _) in points.items()},
            plan.timing,
            batch={name: batch for name, (batch, _, _) in points.items()},
            reporter=reporter,
        )
    return tuple(_row(batch, threads, timings[name]) for name, (batch, threads, _) in points.items()), skipped


def _feeds_by_batch(
    path: Path, feeds: Callable[[int], Feeds], batches: Sequence[int], plan: MeasurementSettings
) -> tuple[dict[int, Feeds], tuple[Fact, ...]]:
    """Inputs for each batch size at which the file runs, and facts on the other ones."""
    feeds_by_batch: dict[int, Feeds] = {}
    skipped = []
    with open_runner(plan.runtime, path) as runner:
        for batch in dict.fromkeys(batches):
            inputs = feeds(batch)
            sizes = {len(array) if array.ndim else 0 for array in inputs.values()}
            if batch not in sizes:
                skipped.append(Fact.of("profile.sweep_fixed_batch", path.name, batch=batch, fixed_batch=max(sizes)))
                continue
            try:
                runner.run(inputs)
            except (ConversionError, DeviceError) as error:
                skipped.append(Fact.of("profile.sweep_failed", path.name, batch=batch, error=message_of(error)))
            else:
                feeds_by_batch[batch] = inputs
    return feeds_by_batch, tuple(skipped)


def _row(batch: int, threads: int, timing: Timing) -> dict[str, object]:
    return {
        "batch": batch,
        "threads": threads,
        "runs": len(timing.milliseconds),
        "latency_p50_ms": timing.p50.model_dump(mode="json"),
        "throughput_per_s": timing.throughput.model_dump(mode="json"),
    }


def sweep_files(
    paths: Sequence[Path],
    devices: Sequence[Device],
    batches: Sequence[int],
    thread_counts: Sequence[int],
    *,
    feeds: Mapping[Path, Callable[[int], Feeds]],
    seconds: float = 2.0,
    reporter: Reporter | None = None,
) -> tuple[tuple[Row, ...], tuple[Fact, ...]]:
    """Sweep ONNX files on this machine, one after the other.

    Args:
        paths: ONNX files; folders are ignored.
        devices: Device profiles; only those with `connection: local` are measured.
        batches: Batch sizes; 1 if empty. Without batch sizes, one thread count is no sweep, and nothing is measured.
        thread_counts: Threads within an operator.
        feeds: By file, a function that returns inputs for a batch size.
        seconds: Timing per row, without warm-up.
        reporter: Shows progress bars.

    Returns:
        Rows of `sweep` with `file` and `device` added; facts on skipped devices and batch sizes.

    Raises:
        ConversionError: A file cannot be loaded.
        DeviceError: Memory ran out, or a processor to pin to does not exist.
    """
    rows: list[dict[str, object]] = []
    skipped: list[Fact] = []
    if not batches and len(thread_counts) < 2:
        return (), ()
    files = [path for path in paths if not path.is_dir()]
    local_devices = [device for device in devices if device.connection == "local"]
    skipped += [Fact.of("profile.sweep_not_local", device.name) for device in devices if device.connection != "local"]
    for device, path in itertools.product(local_devices, files):
        plan = MeasurementSettings.of(device, threads=1, seconds=seconds)
        with pinned(plan.affinity):
            points, skipped_points = sweep(
                path, feeds[path], batches or (1,), thread_counts, plan, reporter=reporter or NullReporter()
            )
        rows += [{"file": path.name, "device": device.name, **point} for point in points]
        skipped += skipped_points
    return tuple(rows), tuple(skipped)
