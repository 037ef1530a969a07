"""Latency of five networks in every runtime, float and int8, all rows of a network in one interleaved session.

    nice -n 5 python -m tests.benchmarks.bench_runtimes --cache /tmp/runtimes --seconds 0.5

Batch 1, one thread. The networks are trained first (`runtime_networks.py`, minutes). Each has its float ONNX file and our int8
files with the placements for ONNX Runtime and OpenVINO, converted for every installed runtime. Beside them are each converter's
own default quantization (`runtime_defaults.py`) with the same calibration samples. A conversion that fails is a row with its
reason. Converted files and results are kept in the cache: a rerun continues, and `--print` prints what is there. Every row also
has, over the same held-out test samples, its accuracy and its error against the float network, ‖y − y_float‖ ÷ ‖y_float‖. With
`--processor-time` rows have the processor time of an inference, for a machine that others use.

Two figures over all networks, as geometric means. Our choice is the fastest of our rows that loses at most 1 point of accuracy
against the float file in ONNX Runtime.

- our choice ÷ the best single runtime: the one pair of runtime and number format with the smallest geometric mean (goal ≤ 0.9);
- our int8 row ÷ the converter's own default in the same runtime, for each runtime where both ran.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.converted.convert import convert_file, converter_of, target_name
from compress.backends.converted.sidecar import read_sidecar
from compress.backends.export_onnx import export_onnx
from compress.backends.open_runner import open_runner
from compress.config.devices import load_device
from compress.core.errors import CompressError
from compress.core.progress import NullReporter
from compress.data.interface import Data
from compress.profile.fastest_runtime import compare_runtimes
from compress.profile.runtimes.compare import RuntimeComparison, compare
from compress.profile.runtimes.entrants import Entrant
from compress.profile.settings import MeasurementSettings
from compress.quantize.settings import CalibrationSettings, PTQSettings
from compress.quantize.static_int8 import Int8Format, plan_static_int8
from compress.quantize.target_requirements import needs_7bit_weights
from compress.tasks.base import Task
from tests.benchmarks.runtime_defaults import ENDINGS
from tests.benchmarks.runtime_networks import NETWORKS, TEXT, Inputs, data_of, samples_of, trained

GOAL = 0.9
CALIBRATION, HELD_OUT = 64, 256
FED = 16
"""Held-out samples in a timed session."""
LOSS = 0.01
RUNTIMES = ("onnxruntime", "openvino", "ort", "litert", "executorch", "mnn", "ncnn")
ROUNDS, RUNS_IN_ROUND = 40, 3
FLOAT, OURS, DEFAULT = "float", "int8", "default int8"
Samples = tuple[list[Inputs], list[int]]
"""Inputs of one sample each, and their classes."""


def source_files(name: str, data: Data, task: Task, folder: Path) -> dict[str, Path]:
    """The float file and our int8 file, by subject; that of OpenVINO is beside it."""
    files = {FLOAT: folder / "float.onnx", OURS: folder / "int8.onnx"}
    if files[OURS].is_file():
        return files
    folder.mkdir(parents=True, exist_ok=True)
    spec = data.spec
    export_onnx(trained(name, data, task, folder), spec, files[FLOAT])
    plan = plan_static_int8(
        graphs.to_ir(onnx_files.load(files[FLOAT])),
        samples_of(data.train, CALIBRATION)[0],
        Int8Format(("onnxruntime", "openvino"), seven_bit_weights=needs_7bit_weights()),
        CalibrationSettings(),
        PTQSettings(smooth=0.5) if name == TEXT else PTQSettings(),
    )
    onnx_files.save(plan.build("openvino", (), spec), folder / "int8.openvino.onnx")
    onnx_files.save(plan.build("onnxruntime", (), spec), files[OURS])
    return files


def our_entrant(subject: str, runtime: str, source: Path, example: Inputs, folder: Path) -> Entrant:
    """A file in a runtime, converted unless the cache has it."""
    fields = (subject, "float" if subject == FLOAT else "int8", runtime, source)
    if converter_of(runtime) is None:
        own = source.with_name(f"{source.stem}.{runtime}{source.suffix}")
        return Entrant(*fields, own if own.is_file() else source, "nothing" if subject == FLOAT else "all")
    place = folder / f"{subject}-{runtime}"
    target, reason = place / target_name(runtime), place / "reason.txt"
    if not target.is_file() and not reason.is_file():
        try:
            convert_file(runtime, source, target, example)
        except CompressError as error:
            place.mkdir(parents=True, exist_ok=True)
            reason.write_text(str(error), encoding="utf-8")
    if reason.is_file():
        return Entrant(*fields, reason=reason.read_text(encoding="utf-8"))
    return Entrant(*fields, target, read_sidecar(target).carried)


def default_entrant(runtime: str, source: Path, samples: list[Inputs], folder: Path) -> Entrant:
    """The converter's own default quantization, made in a process of its own unless the cache has it."""
    fields = (DEFAULT, "int8", runtime, source)
    place = folder / f"default-{runtime}"
    place.mkdir(parents=True, exist_ok=True)
    target = place / f"model{ENDINGS[runtime]}"
    reason = target.with_suffix(".reason")
    if not target.is_file() and not reason.is_file():
        float_file = folder / f"{FLOAT}-{runtime}" / target_name(runtime) if converter_of(runtime) else None
        with tempfile.TemporaryDirectory() as name:
            arrays = {key: np.concatenate([sample[key] for sample in samples]) for key in samples[0]}
            np.savez(Path(name) / "samples.npz", **arrays)  # type: ignore[arg-type]
            arguments = [runtime, source, target, Path(name) / "samples.npz", float_file or ""]
            command = [sys.executable, "-m", "tests.benchmarks.runtime_defaults", *map(str, arguments)]
            ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=os.environ)
        if ran.returncode and not reason.is_file():
            reason.write_text(json.dumps(f"ended with {ran.returncode}: {ran.stderr[-300:]}"), encoding="utf-8")
    if reason.is_file():
        return Entrant(*fields, reason=json.loads(reason.read_text(encoding="utf-8")))
    return Entrant(*fields, target, "weights" if runtime == "mnn" else "all")


def add_answers(rows: list[dict[str, Any]], entrants: Sequence[Entrant], source: Path, samples: Samples) -> None:
    """Accuracy of each row that ran over held-out samples, its error, and whether it keeps the accuracy of the float file."""
    inputs, classes = samples
    with open_runner("onnxruntime", source) as runner:
        expected = np.concatenate([runner.run(sample)[0] for sample in inputs])
    least = float((expected.argmax(1) == classes).mean()) - LOSS
    for row, entrant in zip(rows, entrants, strict=True):
        if row["reason"] or entrant.file is None:
            continue
        with open_runner(entrant.runtime, entrant.file) as runner:
            found = np.concatenate([runner.run(sample)[0] for sample in inputs])
        row["error"] = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        row["accuracy"] = float((found.argmax(1) == classes).mean())
        row["keeps"] = row["accuracy"] >= least


def processor_times(entrants: Sequence[Entrant], feeds: Mapping[str, list[Inputs]]) -> list[dict[str, Any]]:
    """Rows with the processor time of an inference in place of its latency: all threads of this process, files in turns.

    The interval is from the first to the third quartile of the rounds. Other processes on the machine lengthen the latency by
    the time that they run, and the processor time only by what they take of caches and memory.
    """
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        runs: dict[int, Callable[[], object]] = {}
        for index, entrant in enumerate(entrants):
            row = {"subject": entrant.subject, "precision": entrant.precision, "runtime": entrant.runtime, "keeps": False}
            rows.append(row | {"reason": entrant.reason, "carried": entrant.carried, "version": ""})
            if entrant.reason or entrant.file is None:
                continue
            try:
                runner = stack.enter_context(open_runner(entrant.runtime, entrant.file))
                batches = feeds[entrant.subject]
                with open_runner("onnxruntime", entrant.source) as reference:
                    expected = [reference.run(batch) for batch in batches]
                agreement = compare_runtimes(expected, [runner.run(batch) for batch in batches])
            except CompressError as error:
                rows[-1]["reason"] = str(error)
                continue
            rows[-1] |= {"keeps": agreement.holds, "version": runner.describe()["runtime"]}
            rows[-1]["size_bytes"] = {"value": entrant.size_bytes}
            runs[index] = partial(runner.run, batches[0])
        times: dict[int, list[float]] = {index: [] for index in runs}
        for number in range(ROUNDS):
            for index in [*runs][:: 1 if number % 2 == 0 else -1]:
                start = time.process_time_ns()
                for _ in range(RUNS_IN_ROUND):
                    runs[index]()
                times[index].append((time.process_time_ns() - start) / 1e6 / RUNS_IN_ROUND)
    for index, found in times.items():
        low, middle, high = np.percentile(found, (25, 50, 75))
        rows[index]["latency_p50_ms"] = {"value": float(middle), "low": float(low), "high": float(high)}
    return rows


def measure(name: str, side: int, seconds: float | None, cache: Path, runtimes: Sequence[str]) -> list[dict[str, Any]]:
    """All rows of a network; without seconds, with the processor time in place of the latency."""
    folder = cache / f"{name}-{side}"
    data, task = data_of(name, side)
    files = source_files(name, data, task, folder)
    calibration, (held_out, classes) = samples_of(data.train, CALIBRATION)[0], samples_of(data.test, HELD_OUT)
    entrants = []
    for subject, source in files.items():
        for runtime in runtimes:
            entrants.append(our_entrant(subject, runtime, source, held_out[0], folder))
            print(f"{name}: {entrants[-1].name} {entrants[-1].reason[:120]}", file=sys.stderr, flush=True)
    for runtime in [name for name in ENDINGS if name in runtimes]:
        entrants.append(default_entrant(runtime, files[FLOAT], calibration, folder))
        print(f"{name}: {entrants[-1].name} {entrants[-1].reason[:120]}", file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    feeds = dict.fromkeys((*files, DEFAULT), held_out[:FED])
    if seconds is None:
        rows = processor_times(entrants, feeds)
    else:
        device = load_device("host")
        plan = MeasurementSettings.of(device, threads=1, seconds=seconds)
        rows = [{**each.as_row()} for each in compare(entrants, RuntimeComparison(device, plan, feeds), NullReporter())]
    add_answers(rows, entrants, files[FLOAT], (held_out, classes))
    return [{**row, "load": load} for row in rows]


def median_ms(row: Mapping[str, Any]) -> float | None:
    """Median latency; None where it was not measured."""
    value = (row.get("latency_p50_ms") or {}).get("value")
    return None if value is None else float(value)


def cells(name: str, row: Mapping[str, Any], chosen: bool) -> str:
    """A row of the table."""
    if row["reason"]:
        reason = " ".join(str(row["reason"]).split())[:200].replace("|", "/")
        return f"| {name} | {row['subject']} | {row['runtime']} | - | - | - | - | {reason} |"
    took, size = row["latency_p50_ms"], row["size_bytes"]["value"] / 1e6
    mark = "our choice" if chosen else "" if row["keeps"] else "loses accuracy"
    answers = f"{row['error']:.2g} | {row['accuracy']:.1%}"
    time = f"{took['value']:.3g} ({took['low']:.3g}–{took['high']:.3g})"
    return f"| {name} | {row['subject']} | {row['version']} | {time} | {size:.2f} | {answers} | {mark} |"


def choice(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The fastest of our rows that keeps the accuracy."""
    ours = [row for row in rows if row["subject"] != DEFAULT and row["keeps"] and median_ms(row) is not None]
    return min(ours, key=lambda row: median_ms(row) or math.inf, default=None)


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean of the logarithms."""
    return math.exp(float(np.mean(np.log([*values]))))


def judge(measured: Mapping[str, list[dict[str, Any]]]) -> float:
    """Print both figures; returns the first."""
    times: dict[tuple[str, str], list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for rows in measured.values():
        value_of = {(row["subject"], row["runtime"]): median_ms(row) for row in rows}
        for row in rows:
            value = median_ms(row)
            if value is not None and row["keeps"] and row["subject"] != DEFAULT:
                times.setdefault((row["subject"], row["runtime"]), []).append(value)
            ours = value_of.get((OURS, row["runtime"]))
            if row["subject"] == DEFAULT and value is not None and ours is not None:
                ratios.setdefault(row["runtime"], []).append(ours / value)
    chosen = [median_ms(picked) or math.inf for rows in measured.values() if (picked := choice(rows))]
    means = {key: geometric_mean(values) for key, values in times.items() if len(values) == len(measured)}
    best = min(means, key=lambda key: means[key])
    ratio = geometric_mean(chosen) / means[best]
    print(f"\n{len(measured)} networks. Our choice ÷ best single ({' '.join(best)}): {ratio:.3f} (goal {GOAL})")
    for runtime, values in ratios.items():
        print(f"our int8 ÷ {runtime}'s own default: {geometric_mean(values):.3f} over {len(values)} networks")
    return ratio


def main() -> int:
    """Make, convert, time, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", default="", help="networks, by comma; all by default")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES))
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=2.0, help="counted time of each row")
    parser.add_argument(
        "--processor-time", action="store_true", help="processor time in place of latency, on a machine that others use"
    )
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the results of the cache")
    given = parser.parse_args()
    measured = {}
    for name in [name for name in given.only.split(",") if name] or list(NETWORKS):
        kept = given.cache / f"{name}-{given.side}.json"
        if not kept.is_file() and not given.only_print:
            rows = measure(
                name, given.side, None if given.processor_time else given.seconds, given.cache, given.runtimes.split(",")
            )
            kept.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        if kept.is_file():
            measured[name] = json.loads(kept.read_text(encoding="utf-8"))
    print("| network | numbers | runtime | p50, ms | MB | error | accuracy | |\n|---|---|---|---|---|---|---|---|")
    for name, rows in measured.items():
        for row in sorted(rows, key=lambda row: median_ms(row) or math.inf):
            print(cells(name, row, row is choice(rows)), flush=True)
    return 0 if measured and judge(measured) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
