"""Read back what `build_engine.sh` left on a device: the JSON files of `trtexec`, as the same rows that a measurement gives.

    times.json    --exportTimes      one object a run: startH2dMs, endH2dMs, startComputeMs, …, h2dMs, computeMs, latencyMs
    layers.json   --exportProfile    {"count": n}, then one object a layer: name, timeMs, averageMs, medianMs, percentage
    engine.json   --exportLayerInfo  {"Layers": [{"Name", "LayerType", "Metadata": "[ONNX Layer: …]", "Inputs", …}], …}

Formats as TensorRT's open-source samples write them (samples/common/sampleReporting.cpp). Release 8 exports its warm-up too.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.errors import DeviceError
from compress.core.record import BenchmarkRow, Quantity
from compress.core.statistics import drifting_percentile_interval
from compress.profile.benchmark_rows import latencies
from compress.profile.latency.interleave import Samples, Vector, Warmup
from compress.profile.latency.timing import Timing

TIMES, PROFILE, ENGINE = "times.json", "layers.json", "engine.json"
ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
PARTS = {"copy_in_ms": "h2dMs", "compute_ms": "computeMs", "copy_out_ms": "d2hMs"}


@dataclass(frozen=True)
class Trace:
    """Runs of one engine.

    Attributes:
        latency_ms: Copies and computation of each run, (n,).
        parts_ms: `copy_in_ms`, `compute_ms`, `copy_out_ms` of each run, (n,).
        seconds: From the start of the first run to the end of the last.
    """

    latency_ms: Vector
    parts_ms: dict[str, Vector]
    seconds: float

    @property
    def copies(self) -> bool:
        """Whether inputs and outputs were copied; not under --noDataTransfers."""
        return bool((self.parts_ms["copy_in_ms"] + self.parts_ms["copy_out_ms"]).any())


def read_times(path: Path, *, warmup_ms: float = 0.0) -> Trace:
    """Times of each run.

    Args:
        path: What `--exportTimes` wrote.
        warmup_ms: Runs that start before this are dropped; for release 8, which exports them.

    Raises:
        DeviceError: Not such a file, or without a run.
    """
    runs = [run for run in _objects(path) if _number(path, run, "startComputeMs") >= warmup_ms]
    if not runs:
        msg = f"{path} holds no run after {warmup_ms:g} ms of warm-up"
        raise DeviceError(msg)
    parts = {name: np.array([_number(path, run, key) for run in runs]) for name, key in PARTS.items()}
    ends = max(max(_number(path, run, key) for key in ("endComputeMs", "endD2hMs")) for run in runs)
    begin = "startH2dMs" if parts["copy_in_ms"].any() else "startComputeMs"
    starts = min(_number(path, run, begin) for run in runs)
    return Trace(np.array([_number(path, run, "latencyMs") for run in runs]), parts, (ends - starts) / 1000)


def read_layers(folder: Path) -> tuple[dict[str, Any], ...]:
    """Layers of the engine, slowest first: `layer`, `kind`, `onnx_nodes`, `median_ms`, `share`.

    Args:
        folder: With `layers.json`; kinds and ONNX nodes come from `engine.json`, where it is there.

    Raises:
        DeviceError: A file is missing or not what trtexec writes.
    """
    known = {each["Name"]: each for each in _engine(folder) if isinstance(each, dict) and "Name" in each}
    path = folder / PROFILE
    rows = []
    for found in _objects(path):
        if "count" in found:
            continue
        name = str(found.get("name"))
        about = known.get(name, {})
        median = _number(path, found, "medianMs" if "medianMs" in found else "averageMs")
        nodes = ", ".join(ONNX_NODE.findall(str(about.get("Metadata", ""))))
        share = _number(path, found, "percentage") / 100
        rows.append({"layer": name, "kind": about.get("LayerType"), "onnx_nodes": nodes, "median_ms": median, "share": share})
    return tuple(sorted(rows, key=lambda row: -row["median_ms"]))


def subject(folder: Path, device: str, *, batch: int | None = None) -> BenchmarkRow:
    """The row of the profile table that a folder holds.

    Args:
        folder: With `times.json`.
        device: Name of the profile that it was measured on.
        batch: Samples in one run; read from `engine.json` when None.

    Raises:
        DeviceError: A file is missing or not what trtexec writes.
    """
    trace = read_times(folder / TIMES)
    size = batch or _batch(folder)
    copied = "copies included" if trace.copies else "without copies (--noDataTransfers)"
    detail = f"trtexec on {device}, {copied}, batch {size or 'not told'}, read from {folder / TIMES}"
    rounds = np.zeros(len(trace.latency_ms), dtype=np.int64)
    timing = Timing(Samples(trace.latency_ms, rounds, Warmup(0, 0.0, True)), {"runtime": "TensorRT"}, detail, size or 1)
    quantities = latencies(timing, (50, 90, 99)) | {name: _part(trace, name, detail) for name in PARTS}
    quantities["throughput_per_s"] = (
        Quantity.missing("1/s", f"{folder / ENGINE} does not tell the batch")
        if size is None
        else Quantity.measured(len(rounds) * size / trace.seconds, "1/s", f"runs ÷ wall time; {detail}", runs=len(rounds))
    )
    return BenchmarkRow(subject=folder.name, device=device, runtime="TensorRT, by trtexec", quantities=quantities)


def _part(trace: Trace, name: str, detail: str) -> Quantity:
    if name != "compute_ms" and not trace.copies:
        return Quantity.missing("ms", "trtexec ran with --noDataTransfers")
    series = trace.parts_ms[name]
    return Quantity.measured(
        float(np.median(series)), "ms", detail, interval=drifting_percentile_interval(series, 0.5), runs=len(series)
    )


def _batch(folder: Path) -> int | None:
    """First dimension of the first layer's first input; None when the engine was built without detailed verbosity."""
    for layer in _engine(folder):
        if isinstance(layer, dict) and (inputs := layer.get("Inputs")):
            sizes = inputs[0].get("Dimensions") if isinstance(inputs[0], dict) else None
            return int(sizes[0]) if sizes and int(sizes[0]) > 0 else None
    return None


def _engine(folder: Path) -> list[Any]:
    path = folder / ENGINE
    if not path.exists():
        return []
    found = _json(path)
    layers = found.get("Layers") if isinstance(found, dict) else None
    return layers if isinstance(layers, list) else []


def _objects(path: Path) -> list[dict[str, Any]]:
    found = _json(path)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        msg = f"{path} is not what trtexec exports: a list of objects is expected"
        raise DeviceError(msg)
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; build_engine.sh writes it beside the engine"
        raise DeviceError(msg) from error
    except ValueError as error:
        msg = f"{path} is not JSON: {error}; it may be cut off, run build_engine.sh again"
        raise DeviceError(msg) from error


def _number(path: Path, run: dict[str, Any], key: str) -> float:
    value = run.get(key)
    if not isinstance(value, int | float):
        msg = f"{path} is not what trtexec exports: {key} is {value!r} where a number of milliseconds is expected"
        raise DeviceError(msg)
    return float(value)
