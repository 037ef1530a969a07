"""One device that is this machine: choose the runtime, measure the files in turns, sweep."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.backends.open_runner import file_for
from compress.backends.runner_protocol import Array, Feeds, pinned
from compress.config.devices import Device
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.core.record import BenchmarkRow
from compress.data.batch import Split
from compress.profile.benchmark_rows import contract_notes, measure_rows
from compress.profile.fastest_runtime import choose_runtime
from compress.profile.latency.sweep import sweep
from compress.profile.latency.timing import Timing
from compress.profile.settings import MeasurementSettings

COMPARED_SAMPLES = 64
"""Samples on which runtimes are held against each other."""


@dataclass(frozen=True)
class ProfileRequest:
    """What a profile asks of this machine.

    Attributes:
        threads: Within an operator.
        seconds: Counted time of each file.
        batches: Sizes to sweep; empty sweeps none.
        thread_counts: Likewise.
        made: Files of the artifact by runtime family.
        runtime: That the artifact ships with, where it was chosen before; None chooses where the profile names several.
    """

    threads: int = 1
    seconds: float = 2.0
    batches: tuple[int, ...] = ()
    thread_counts: tuple[int, ...] = ()
    made: Mapping[str, Path] = field(default_factory=dict)
    runtime: str | None = None


@dataclass(frozen=True)
class ProfileResult:
    """What was measured.

    Attributes:
        rows: One a file.
        timings: By subject.
        notes: How, and which parts of the contract were met.
        skipped: Runtimes and sweep points that were left out, with reasons.
        tables: `runtimes` and `sweep`, where there are such.
        runtime: That all were measured in; None on another machine.
        artifact: File of the artifact that was measured; likewise.
    """

    rows: tuple[BenchmarkRow, ...]
    timings: Mapping[str, Timing]
    notes: tuple[Fact, ...]
    skipped: tuple[Fact, ...] = ()
    tables: Mapping[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    runtime: str | None = None
    artifact: Path | None = None


def profile(
    files: Mapping[str, Path],
    names: Mapping[str, str],
    split: Split,
    device: Device,
    request: ProfileRequest,
    reporter: Reporter,
) -> ProfileResult:
    """Measure teacher, student and artifact on this machine.

    Args:
        files: ONNX files by subject, with `artifact`.
        names: Name of the one input of each.
        split: Where real inputs are taken from.
        device: The profile of this machine.
        request: What to do.
        reporter: Shows bars.

    Raises:
        ConversionError: A file cannot be loaded or run.
        DeviceError: Memory ran out, or the runtime or a processor to pin to is not there.
    """
    batch = device.contract.batch
    plan = MeasurementSettings.of(device, threads=request.threads, seconds=request.seconds)
    skipped: tuple[Fact, ...] = ()
    notes: tuple[Fact, ...] = ()
    tables: dict[str, tuple[dict[str, Any], ...]] = {}
    with pinned(plan.affinity):
        if request.runtime is not None:
            plan = replace(plan, runtime=request.runtime)
        elif device.runtimes:
            comparison_feeds = {name: batches(split, batch, key) for name, key in names.items()}
            runtimes = (device.runtime, *device.runtimes)
            choice = choose_runtime(runtimes, files, comparison_feeds, plan, batch=batch, reporter=reporter, made=request.made)
            plan = replace(plan, runtime=choice.runtime)
            skipped, notes = choice.skipped, choice.notes
            tables["runtimes"] = _named(device, choice.rows)
        files = {**files, "artifact": file_for(plan.runtime, request.made, files["artifact"])}
        inputs = samples(split, batch)
        feeds = {name: {names[name]: inputs} for name in files}
        rows, timings = measure_rows(files, feeds, device, plan, batch=batch, reporter=reporter)
        if request.batches or request.thread_counts:
            points, skipped_points = sweep(
                files["artifact"],
                lambda size: {names["artifact"]: samples(split, size)},
                request.batches or (batch,),
                request.thread_counts or (request.threads,),
                plan,
                reporter=reporter,
            )
            tables["sweep"] = _named(device, points)
            skipped += skipped_points
    notes += contract_notes(device, plan, timings)
    return ProfileResult(rows, timings, notes, skipped, tables, plan.runtime, files["artifact"])


def samples(split: Split, size: int) -> Array:
    """The first samples of a split, (size, …); repeated where it has fewer."""
    inputs = next(iter(split.ordered(min(size, len(split))))).input.numpy()
    return np.ascontiguousarray(np.resize(inputs, (size, *inputs.shape[1:])))


def batches(split: Split, batch: int, name: str) -> list[Feeds]:
    """Full batches of up to `COMPARED_SAMPLES` samples, under the name of the input."""
    found = itertools.islice(split.ordered(batch), max(1, COMPARED_SAMPLES // batch))
    return [{name: each.input.numpy()} for each in found if len(each.input) == batch] or [{name: samples(split, batch)}]


def _named(device: Device, rows: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    return tuple({"device": device.name, **row} for row in rows)
