"""Read the JSON files that `build_engine.sh` writes with `trtexec` on a device.

    times.json    --exportTimes      one object per run: startH2dMs, endH2dMs, startComputeMs, …, h2dMs, computeMs, latencyMs
    layers.json   --exportProfile    {"count": n}, then one object per layer: name, timeMs, averageMs, medianMs, percentage
    engine.json   --exportLayerInfo  {"Layers": [{"Name", "LayerType", "Metadata": "[ONNX Layer: …]", "Inputs", …}], …}

Source: samples/common/sampleReporting.cpp of TensorRT. TensorRT 8 also exports its warm-up runs, which count here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from compress.core.entries import Row
from compress.core.errors import DeviceError
from compress.core.language import gettext
from compress.core.record import BenchmarkRow, Quantity
from compress.core.statistics import drifting_percentile_interval
from compress.profile.benchmark_rows import latencies
from compress.profile.latency.interleave import Samples, Vector, Warmup
from compress.profile.latency.timing import Timing

WARMUP_MS = 500
"""Warm-up of trtexec in `build_engine.sh`."""
TIMES, PROFILE, ENGINE = "times.json", "layers.json", "engine.json"
ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
PARTS = ("copy_in_ms", "compute_ms", "copy_out_ms")


T = TypeVar("T")
Milliseconds = Annotated[float, Field(ge=0.0)]


class _Exported(BaseModel):
    """Part of a JSON file of trtexec; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class _Run(_Exported):
    start_h2d_ms: Milliseconds = Field(alias="startH2dMs")
    start_compute_ms: Milliseconds = Field(alias="startComputeMs")
    end_compute_ms: Milliseconds = Field(alias="endComputeMs")
    end_d2h_ms: Milliseconds = Field(alias="endD2hMs")
    copy_in_ms: Milliseconds = Field(alias="h2dMs")
    compute_ms: Milliseconds = Field(alias="computeMs")
    copy_out_ms: Milliseconds = Field(alias="d2hMs")
    latency_ms: float = Field(alias="latencyMs", gt=0.0)


class _LayerTime(_Exported):
    name: str
    median_ms: Milliseconds = Field(validation_alias=AliasChoices("medianMs", "averageMs"))
    percentage: float = Field(ge=0.0)


class _Input(_Exported):
    dimensions: tuple[int, ...] = Field(default=(), alias="Dimensions", strict=False)


class _Layer(_Exported):
    name: str = Field(alias="Name")
    kind: str | None = Field(default=None, alias="LayerType")
    metadata: str = Field(default="", alias="Metadata")
    inputs: list[_Input] = Field(default=[], alias="Inputs")


class _Engine(_Exported):
    """Layers of an engine; strings if it was built without detailed profiling verbosity."""

    layers: list[_Layer] | list[str] = Field(alias="Layers")

    @property
    def detailed(self) -> list[_Layer]:
        return [layer for layer in self.layers if isinstance(layer, _Layer)]


_RUNS, _ROWS, _ENGINE = TypeAdapter(list[_Run]), TypeAdapter(list[dict[str, object]]), TypeAdapter(_Engine)
_LAYER_TIMES = TypeAdapter(list[_LayerTime])


@dataclass(frozen=True)
class EngineRuns:
    """Runs of one engine.

    Attributes:
        latency_ms: Copies and computation of each run, (n,).
        parts_ms: `copy_in_ms`, `compute_ms` and `copy_out_ms` of each run, (n,) each.
        seconds: Time from the start of the first run to the end of the last.
    """

    latency_ms: Vector
    parts_ms: dict[str, Vector]
    seconds: float

    @property
    def copies(self) -> bool:
        """Whether inputs and outputs were copied; false with --noDataTransfers."""
        return bool((self.parts_ms["copy_in_ms"] + self.parts_ms["copy_out_ms"]).any())


def read_times(path: Path) -> EngineRuns:
    """Read the times of each run from a file that `--exportTimes` wrote, without the runs of the warm-up.

    Times count from the first run of the warm-up. TensorRT 8.5 and 8.6 also write the runs that start before its end; later
    releases write the others only. A run of trtexec that ended before `WARMUP_MS` is taken as a whole.

    Raises:
        DeviceError: The file cannot be read, has another format or contains no run.
    """
    runs = _read(path, _RUNS)
    if not runs:
        msg = gettext("{path} contains no run; run build_engine.sh again", path=path)
        raise DeviceError(msg)
    runs = [run for run in runs if run.start_compute_ms >= WARMUP_MS] or runs
    parts = {name: np.array([getattr(run, name) for run in runs]) for name in PARTS}
    ends = max(max(run.end_compute_ms, run.end_d2h_ms) for run in runs)
    starts = min(run.start_h2d_ms if parts["copy_in_ms"].any() else run.start_compute_ms for run in runs)
    return EngineRuns(np.array([run.latency_ms for run in runs]), parts, (ends - starts) / 1000)


def read_layers(folder: Path) -> tuple[Row, ...]:
    """Layers of the engine, slowest first: `layer`, `kind`, `onnx_nodes`, `median_ms`, `share`.

    Args:
        folder: Folder with `layers.json`; kinds and ONNX nodes come from `engine.json`, if it exists.

    Raises:
        DeviceError: A file is missing or has another format.
    """
    engine_layers = {layer.name: layer for layer in _engine(folder)}
    path = folder / PROFILE
    times = _validate(path, _LAYER_TIMES, [row for row in _read(path, _ROWS) if "count" not in row])
    rows = [
        {
            "layer": time.name,
            "kind": engine_layers[time.name].kind if time.name in engine_layers else None,
            "onnx_nodes": ", ".join(ONNX_NODE.findall(engine_layers[time.name].metadata)) if time.name in engine_layers else "",
            "median_ms": time.median_ms,
            "share": time.percentage / 100,
        }
        for time in sorted(times, key=lambda time: -time.median_ms)
    ]
    return tuple(rows)


def read_row(folder: Path, device: str) -> BenchmarkRow:
    """Row of the profile table for a folder of results.

    Args:
        folder: Folder with `times.json`.
        device: Name of the device profile.

    Raises:
        DeviceError: A file is missing or has another format.
    """
    trace = read_times(folder / TIMES)
    size = _batch(folder)
    copies = gettext("copies included") if trace.copies else gettext("without copies (--noDataTransfers)")
    detail = gettext(
        "trtexec on {device}, {copies}, batch {size}, read from {folder}",
        device=device,
        copies=copies,
        size=size or "size unknown",
        folder=folder / TIMES,
    )
    rounds = np.zeros(len(trace.latency_ms), dtype=np.int64)
    timing = Timing(Samples(trace.latency_ms, rounds, Warmup(0, 0.0, True)), {"runtime": "TensorRT"}, detail, size or 1)
    quantities = latencies(timing, (50, 90, 99)) | {name: _part(trace, name, detail) for name in PARTS}
    if size is None:
        rate = Quantity.missing("1/s", gettext("{folder} does not contain the batch size", folder=folder / ENGINE))
    elif trace.seconds <= 0:
        rate = Quantity.missing(
            "1/s", gettext("the last run in {folder} ends before the first one starts", folder=folder / TIMES)
        )
    else:
        rate = Quantity.measured(
            len(rounds) * size / trace.seconds, "1/s", gettext("runs ÷ wall time; {detail}", detail=detail), runs=len(rounds)
        )
    quantities["throughput_per_s"] = rate
    return BenchmarkRow(subject=folder.name, device=device, runtime=gettext("TensorRT, by trtexec"), quantities=quantities)


def _part(trace: EngineRuns, name: str, detail: str) -> Quantity:
    if name != "compute_ms" and not trace.copies:
        return Quantity.missing("ms", gettext("trtexec ran with --noDataTransfers"))
    series = trace.parts_ms[name]
    return Quantity.measured(
        float(np.median(series)), "ms", detail, interval=drifting_percentile_interval(series, 0.5), runs=len(series)
    )


def _batch(folder: Path) -> int | None:
    """First dimension of the first layer's first input; None if the engine was built without detailed profiling verbosity."""
    sizes = next((layer.inputs[0].dimensions for layer in _engine(folder) if layer.inputs), ())
    return sizes[0] if sizes and sizes[0] > 0 else None


def _engine(folder: Path) -> list[_Layer]:
    path = folder / ENGINE
    return _read(path, _ENGINE).detailed if path.exists() else []


def _read(path: Path, adapter: TypeAdapter[T]) -> T:
    try:
        return _validate(path, adapter, path.read_bytes())
    except OSError as error:
        msg = gettext(
            "cannot read {path}: {strerror}; build_engine.sh writes it beside the engine", path=path, strerror=error.strerror
        )
        raise DeviceError(msg) from error


def _validate(path: Path, adapter: TypeAdapter[T], content: bytes | list[dict[str, object]]) -> T:
    try:
        return adapter.validate_json(content) if isinstance(content, bytes) else adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            msg = gettext(
                "{path} is not JSON: {msg}; it may be truncated: run build_engine.sh again", path=path, msg=first["msg"]
            )
        else:
            key = ".".join(map(str, first["loc"])) or gettext("the file")
            msg = gettext(
                "{path} is not what trtexec exports: {key}: {msg}, got {input!r}",
                path=path,
                key=key,
                msg=first["msg"],
                input=str(first["input"])[:80],
            )
        raise DeviceError(msg) from error
