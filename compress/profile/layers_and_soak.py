"""Detailed profile of files on this machine: time by layer, and an optional soak test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compress.backends.runner_protocol import Feeds
from compress.core.entries import Tables
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import message_of
from compress.core.progress import Reporter
from compress.core.record import Curve, Metrics
from compress.core.sentences import render
from compress.profile.latency.soak import soak_file
from compress.profile.latency.soak_report import Soak
from compress.profile.layers import layer_times as layers
from compress.profile.layers import tables as layer_tables

LAYERS = "layers_time"
SECONDS = 1.0
"""Longest layer-by-layer timing of one file."""


@dataclass(frozen=True)
class DetailedProfile:
    """Results of a detailed profile; the fields are those of `StageRecord`."""

    results: Metrics = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    skipped: tuple[Fact, ...] = ()
    curves: dict[str, Curve] = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)


def profile_detail(
    files: Mapping[str, Path],
    feeds: Mapping[str, Feeds],
    *,
    threads: int,
    seconds: float,
    soak_seconds: float | None,
    reporter: Reporter,
    runtime: str = "onnxruntime",
) -> DetailedProfile:
    """Time student and artifact layer by layer, and run a soak test of the artifact.

    Args:
        files: ONNX files by subject; one is `artifact`. Its layers are compared with those of `student`, if there is one.
        feeds: Inputs by subject.
        threads: Threads within an operator.
        seconds: Timing per file, at most one second.
        soak_seconds: Duration of the soak test; None runs none.
        reporter: Shows a progress bar.
        runtime: Runtime of the artifact; layers are timed in ONNX Runtime only.
    """
    compared = {name: files[name] for name in ("student", "artifact") if name in files}
    if runtime.partition(":")[0] == "onnxruntime":
        detail = _layers(compared, feeds, threads, min(seconds, SECONDS))
    else:
        detail = DetailedProfile(skipped=(Fact.of("profile.layers_other_runtime", "artifact", runtime=runtime),))
    if soak_seconds is None:
        return detail
    soak = soak_file(
        files["artifact"], soak_seconds, feeds=feeds["artifact"], threads=threads, reporter=reporter, runtime=runtime
    )
    return DetailedProfile(soak.quantities(), (*detail.notes, *soak.notes()), detail.skipped, soak.curves(), detail.tables)


def _layers(files: Mapping[str, Path], feeds: Mapping[str, Feeds], threads: int, seconds: float) -> DetailedProfile:
    try:
        times = layers.measure(files, feeds, threads=threads, seconds=seconds)
    except CompressError as error:
        return DetailedProfile(skipped=(Fact.of("profile.layers_failed", "artifact", error=message_of(error)),))
    rows = (
        layer_tables.compare(times["student"], times["artifact"])
        if "student" in times
        else layer_tables.table(times["artifact"])
    )
    notes = tuple(file_times.total(name) for name, file_times in times.items())
    return DetailedProfile(notes=notes, tables={LAYERS: rows})


@dataclass(frozen=True)
class FileDetails:
    """Detailed profiles of files.

    Attributes:
        layers: Rows of the layer times by file, slowest first.
        soaks: Soak tests by file.
        notes: Sums of the layer times with the latency of whole inferences, and results of the soak tests.
    """

    layers: Mapping[str, layer_tables.Rows]
    soaks: Mapping[str, Soak]
    notes: tuple[Fact, ...]

    def as_json(self) -> dict[str, object]:
        """Plain JSON: `layers`, `soak` and `notes`."""
        soaks = {
            name: {
                "quantities": {key: quantity.model_dump(mode="json") for key, quantity in soak.quantities().items()},
                "curves": {key: curve.model_dump(mode="json") for key, curve in soak.curves().items()},
            }
            for name, soak in self.soaks.items()
        }
        return {"layers": dict(self.layers), "soak": soaks, "notes": tuple(map(render, self.notes))}


def profile_file_details(
    files: Mapping[str, Path],
    feeds: Mapping[str, Feeds],
    *,
    layered: bool,
    soak_seconds: float | None,
    threads: int,
    seconds: float,
    reporter: Reporter,
) -> FileDetails:
    """Time files layer by layer in turns, then run a soak test of each.

    Args:
        files: ONNX files by name.
        feeds: Inputs by name of the file.
        layered: Whether to time the layers.
        soak_seconds: Duration of each soak test; None runs none.
        threads: Threads within an operator.
        seconds: Layer-by-layer timing per file.
        reporter: Shows progress bars.

    Raises:
        ConversionError: A file cannot be loaded or run.
        DeviceError: A file's input shapes are not known.
    """
    times = layers.measure(files, feeds, threads=threads, seconds=seconds) if layered else {}
    notes = [file_times.total(name) for name, file_times in times.items()]
    soaks = {}
    if soak_seconds is not None:
        for name, path in files.items():
            soaks[name] = soak_file(path, soak_seconds, feeds=feeds[name], threads=threads, reporter=reporter)
            notes += soaks[name].notes(name)
    tables = {name: layer_tables.table(file_times) for name, file_times in times.items()}
    return FileDetails(tables, soaks, tuple(notes))
