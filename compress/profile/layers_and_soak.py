"""A closer look at the files on this machine: time by layer, and a soak where one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.backends.runner_protocol import Feeds
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.progress import Reporter
from compress.core.record import Curve, Metrics
from compress.core.sentences import render
from compress.profile.latency.soak import soak_file
from compress.profile.latency.soak_report import Soak
from compress.profile.layers import layer_times as layers
from compress.profile.layers import tables as layer_tables

LAYERS = "layers_time"
SECONDS = 1.0
"""Most that per-layer times of one file may take."""


@dataclass(frozen=True)
class DetailedProfile:
    """What was seen; see `StageRecord` for the meaning of the fields."""

    results: Metrics = field(default_factory=dict)
    notes: tuple[Fact, ...] = ()
    skipped: tuple[Fact, ...] = ()
    curves: dict[str, Curve] = field(default_factory=dict)
    tables: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)


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
    """Time student and artifact layer by layer, and soak the artifact.

    Args:
        files: ONNX files by subject, with `artifact`; layers are compared with `student` where it is another file.
        feeds: Inputs by subject.
        threads: Within an operator.
        seconds: Time for each file's layers, one second at most.
        soak_seconds: Length of the soak; None soaks nothing.
        reporter: Shows a bar.
        runtime: That the artifact runs in; layers are timed in ONNX Runtime only.
    """
    chosen = {name: files[name] for name in ("student", "artifact") if name in files}
    if runtime.partition(":")[0] == "onnxruntime":
        found = _layers(chosen, feeds, threads, min(seconds, SECONDS))
    else:
        found = DetailedProfile(skipped=(Fact.of("profile.layers_other_runtime", "artifact", runtime=runtime),))
    if soak_seconds is None:
        return found
    soaked = soak_file(
        files["artifact"], soak_seconds, feeds=feeds["artifact"], threads=threads, reporter=reporter, runtime=runtime
    )
    return DetailedProfile(soaked.quantities(), (*found.notes, *soaked.notes()), found.skipped, soaked.curves(), found.tables)


def _layers(files: Mapping[str, Path], feeds: Mapping[str, Feeds], threads: int, seconds: float) -> DetailedProfile:
    try:
        found = layers.measure(files, feeds, threads=threads, seconds=seconds)
    except CompressError as error:
        return DetailedProfile(skipped=(Fact.of("profile.layers_failed", "artifact", error=str(error)),))
    rows = (
        layer_tables.compare(found["student"], found["artifact"])
        if "student" in found
        else layer_tables.table(found["artifact"])
    )
    notes = tuple(each.total(name) for name, each in found.items())
    return DetailedProfile(notes=notes, tables={LAYERS: rows})


@dataclass(frozen=True)
class FileDetails:
    """What was seen of single files.

    Attributes:
        layers: Rows of time by layer by file, slowest first.
        soaks: By file.
        notes: How the layers stand to the whole, and what the soaks showed.
    """

    layers: Mapping[str, layer_tables.Rows]
    soaks: Mapping[str, Soak]
    notes: tuple[Fact, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON: `layers`, `soak` and `notes`."""
        soaks = {
            name: {
                "quantities": {key: each.model_dump(mode="json") for key, each in found.quantities().items()},
                "curves": {key: each.model_dump(mode="json") for key, each in found.curves().items()},
            }
            for name, found in self.soaks.items()
        }
        return {"layers": dict(self.layers), "soak": soaks, "notes": tuple(map(render, self.notes))}


def profile_file_details(
    files: Mapping[str, Path], *, layered: bool, soak_seconds: float | None, threads: int, seconds: float, reporter: Reporter
) -> FileDetails:
    """Time files layer by layer in turns, and soak them one after the other.

    Args:
        files: ONNX files by name; fed zeros of their own shapes.
        layered: Time by layer.
        soak_seconds: Length of each soak; None soaks nothing.
        threads: Within an operator.
        seconds: Time for each file's layers.
        reporter: Shows bars.

    Raises:
        ConversionError: A file cannot be loaded or run.
        DeviceError: A file's input shapes are not known.
    """
    timed = layers.measure(files, threads=threads, seconds=seconds) if layered else {}
    notes = [each.total(name) for name, each in timed.items()]
    soaks = {}
    if soak_seconds is not None:
        for name, path in files.items():
            soaks[name] = soak_file(path, soak_seconds, threads=threads, reporter=reporter)
            notes += soaks[name].notes(name)
    return FileDetails({name: layer_tables.table(each) for name, each in timed.items()}, soaks, tuple(notes))
