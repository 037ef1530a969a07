"""Profile of this machine: choose the runtime, measure the files in turns, sweep batch sizes and thread counts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from compress.backends.feeds import fit_feeds
from compress.backends.iterate_split import input_arrays
from compress.backends.open_runner import file_for
from compress.backends.read_graph import graph_shapes
from compress.backends.runner_protocol import Array, Feeds, pinned
from compress.config.devices import Device
from compress.core.entries import Row, Tables
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.core.record import BenchmarkRow
from compress.core.signature import Signature
from compress.data.batch import Split
from compress.profile.benchmark_rows import contract_notes, measure_rows
from compress.profile.fastest_runtime import RuntimeInputs, choose_runtime
from compress.profile.latency.by_length import length_axis
from compress.profile.latency.sweep import sweep
from compress.profile.latency.timing import Timing
from compress.profile.lengths import at_typical_length
from compress.profile.own_tokens import within_table
from compress.profile.settings import MeasurementSettings

COMPARED_SAMPLES = 64
"""Number of samples on which the outputs of runtimes are compared."""


@dataclass(frozen=True)
class ProfileRequest:
    """What to measure on a device.

    Attributes:
        threads: Threads within an operator.
        seconds: Timing per file, without warm-up.
        batches: Batch sizes to sweep; without batch sizes and thread counts there is no sweep.
        thread_counts: Thread counts to sweep.
        variants: Files of the artifact by runtime family.
        runtime: Runtime of the artifact, if an earlier stage chose it; None chooses the fastest of the device profile.
        signature: Signature of the network; sequences of tokens are cut or repeated to its typical length. None keeps their
            length.
    """

    threads: int = 1
    seconds: float = 2.0
    batches: tuple[int, ...] = ()
    thread_counts: tuple[int, ...] = ()
    variants: Mapping[str, Path] = field(default_factory=dict)
    runtime: str | None = None
    signature: Signature | None = None


@dataclass(frozen=True)
class ProfileResult:
    """Measurements on one device.

    Attributes:
        rows: One row per file.
        timings: Timings by subject.
        notes: Settings, and requirements of the measurement protocol that were not met.
        skipped: Skipped runtimes and sweep points, with the reason.
        tables: `runtimes` if the runtime was chosen, `sweep` if there was a sweep.
        runtime: Runtime of the measurement; None on another machine.
        artifact: File of the artifact that was measured; None on another machine.
    """

    rows: tuple[BenchmarkRow, ...]
    timings: Mapping[str, Timing]
    notes: tuple[Fact, ...]
    skipped: tuple[Fact, ...] = ()
    tables: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    runtime: str | None = None
    artifact: Path | None = None


def profile(
    files: Mapping[str, Path],
    split: Split,
    device: Device,
    request: ProfileRequest,
    reporter: Reporter,
) -> ProfileResult:
    """Measure teacher, student and artifact on this machine.

    Args:
        files: ONNX files by subject; one is `artifact`.
        split: Source of the inputs.
        device: Profile of this machine.
        request: What to measure.
        reporter: Shows progress bars.

    Raises:
        ConversionError: A file cannot be loaded or run.
        DeviceError: Memory ran out, or the runtime or a processor to pin to does not exist.
    """
    batch = device.contract.batch
    plan = MeasurementSettings.of(device, threads=request.threads, seconds=request.seconds)
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()
    tables: Tables = {}
    with pinned(plan.affinity):
        if request.runtime is not None:
            plan = replace(plan, runtime=request.runtime)
        elif device.runtimes:
            comparison_feeds = {name: batches(split, batch, path) for name, path in files.items()}
            runtimes = (device.runtime, *device.runtimes)
            compared = RuntimeInputs(files, comparison_feeds, variants=request.variants)
            choice = choose_runtime(runtimes, compared, plan, batch=batch, reporter=reporter)
            plan = replace(plan, runtime=choice.runtime)
            skipped, notes = choice.skipped, choice.notes
            tables["runtimes"] = _with_device(device, choice.rows)
        files = {**files, "artifact": file_for(plan.runtime, request.variants, files["artifact"])}
        feeds = file_feeds(files, samples(split, batch, request.signature))
        rows, timings = measure_rows(files, feeds, device, plan, batch=batch, reporter=reporter)
        if request.batches or request.thread_counts:
            shapes = graph_shapes(files["artifact"])
            points, skipped_points = sweep(
                files["artifact"],
                lambda size: fit_feeds(samples(split, size, request.signature), shapes, files["artifact"]),
                request.batches or (batch,),
                request.thread_counts or (request.threads,),
                plan,
                reporter=reporter,
            )
            tables["sweep"] = _with_device(device, points)
            skipped += skipped_points
    notes += contract_notes(device, plan, timings)
    return ProfileResult(rows, timings, notes, skipped, tables, plan.runtime, files["artifact"])


def file_feeds(files: Mapping[str, Path], arrays: Feeds) -> dict[str, Feeds]:
    """Inputs of each file.

    Args:
        files: ONNX files by subject.
        arrays: Inputs by the names of the data.

    Raises:
        ConversionError: A file is not ONNX, or its inputs differ from those of the data.
    """
    return {name: fit_feeds(within_table(arrays, path), graph_shapes(path), path) for name, path in files.items()}


def samples(split: Split, size: int, signature: Signature | None = None) -> dict[str, Array]:
    """Inputs of the first samples of a split by the names of the data, (size, …); repeated if it has fewer samples.

    With the signature of a network that takes tokens, sequences have its typical length.
    """
    batch = next(iter(split.ordered(min(size, len(split)))))
    arrays = {name: np.resize(array, (size, *array.shape[1:])) for name, array in input_arrays(batch).items()}
    return arrays if signature is None else at_typical_length(arrays, signature, length_axis(signature))


def batches(split: Split, batch: int, path: Path) -> list[Feeds]:
    """Inputs of a file: full batches of up to `COMPARED_SAMPLES` samples.

    Raises:
        ConversionError: The file is not ONNX, or its inputs differ from those of the data.
    """
    shapes = graph_shapes(path)
    first_batches = itertools.islice(split.ordered(batch), max(1, COMPARED_SAMPLES // batch))
    arrays = [input_arrays(loaded) for loaded in first_batches if loaded.size == batch] or [samples(split, batch)]
    return [fit_feeds(within_table(each, path), shapes, path) for each in arrays]


def _with_device(device: Device, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return tuple({"device": device.name, **row} for row in rows)
