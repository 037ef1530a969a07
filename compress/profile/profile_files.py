"""Profile ONNX files without a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compress.backends.file_signature import read_signature
from compress.backends.runner_protocol import Feeds, pinned
from compress.config.devices import Device
from compress.core.errors import DeviceError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter
from compress.core.record import BenchmarkRow
from compress.core.sentences import render, render_subject
from compress.profile import connected
from compress.profile import trtexec_results as trtexec
from compress.profile.benchmark_rows import contract_notes, estimate_rows, measure_rows
from compress.profile.cost_model.executed_work import macs_quantity
from compress.profile.fastest_runtime import RuntimeInputs, choose_runtime
from compress.profile.file_inputs import NO_FEEDS, NOT_GIVEN, FileInputs, plan_inputs
from compress.profile.input_shapes import Shape, SizeRange
from compress.profile.latency.axis_sweep import Rows, sweep_axis
from compress.profile.latency.timing import Timing, speedup
from compress.profile.settings import MeasurementSettings

COMPARED_BATCHES = 8
"""Number of random batches on which runtimes are compared."""
SLOWEST = 5
"""Number of slowest layers of an engine that are reported."""


def profile_files(
    paths: Sequence[Path],
    devices: Sequence[Device],
    *,
    threads: int = 1,
    seconds: float = 2.0,
    reporter: Reporter | None = None,
    inputs: Mapping[str, FileInputs] | None = None,
) -> tuple[BenchmarkRow, ...]:
    """Measure ONNX files on this machine, over SSH and over adb, and estimate them for devices that are not connected.

    Args:
        paths: ONNX files, or folders with results of `build_engine.sh`, each named after its device, which are read.
        devices: Device profiles; one with a `connection` is measured.
        threads: Threads within an operator.
        seconds: Timing per file, without warm-up.
        reporter: Shows progress bars and notes on the measurement.
        inputs: Inputs by name of the file, see `plan_files`; None feeds zeros at typical sizes of free axes.

    Returns:
        One row per file and device; the subject is the name of the file.

    Raises:
        ConversionError: A file is not ONNX, its external data is missing, or its opset is newer than the runtime supports.
        SignatureError: A file runs at no typical size of a free axis.
        DeviceError: There is no file or no device, a profile lacks a value that the estimate needs, or a device cannot be
            reached or used.
    """
    if not paths or not devices:
        msg = gettext(
            "nothing to profile: {count} files on {devices_count} devices; give at least one of each",
            count=len(paths),
            devices_count=len(devices),
        )
        raise DeviceError(msg)
    reporter = reporter or NullReporter()
    rows = [_read_trtexec(path, reporter) for path in paths if path.is_dir()]
    files = named(paths)
    inputs = plan_files(paths) if inputs is None else inputs
    for device in devices if files else ():
        feeds = {name: inputs[name].feeds(device.contract.batch) for name in files}
        batch = max(inputs[name].samples(device.contract.batch) for name in files)
        if device.connection == "local":
            plan = MeasurementSettings.of(device, threads=threads, seconds=seconds)
            plan = _with_fastest_runtime(device, files, inputs, plan, reporter)
            file_rows, timings = measure_rows(files, feeds, device, plan, batch=batch, reporter=reporter)
            rows += _with_inputs(_with_ratios(file_rows, timings), files, inputs, device)
            for note in contract_notes(device, plan, timings):
                reporter.line(render(note))
        elif device.connection is not None:
            plan = MeasurementSettings.of(device, threads=threads, seconds=seconds)
            file_rows, timings, notes = connected.measure_rows(files, feeds, device, plan, batch=batch, reporter=reporter)
            rows += _with_inputs(_with_ratios(file_rows, timings), files, inputs, device)
            for note in notes:
                reporter.line(render(note))
        else:
            rows += _with_inputs(estimate_rows(files, device, feeds), files, inputs, device)
    return tuple(rows)


def sweep_sizes(
    paths: Sequence[Path],
    devices: Sequence[Device],
    inputs: Mapping[str, FileInputs],
    *,
    threads: int,
    seconds: float,
    reporter: Reporter,
) -> tuple[Rows, tuple[Fact, ...]]:
    """Sweep the axis with a range of sizes of each file that has one, on this machine.

    Args:
        paths: ONNX files.
        devices: Device profiles; only those with `connection: local` are measured.
        inputs: Inputs by name of the file.
        threads: Threads within an operator.
        seconds: Timing per size, without warm-up.
        reporter: Shows progress bars.

    Returns:
        Rows of `sweep_axis`; facts on skipped devices and sizes.

    Raises:
        ConversionError: A file cannot be loaded.
        DeviceError: The runtime or a processor to pin to does not exist.
    """
    rows: Rows = ()
    skipped: tuple[Fact, ...] = ()
    swept = {path: inputs[name] for name, path in named(paths).items() if inputs[name].sweep is not None}
    for device, path in itertools.product(devices, swept):
        if device.connection != "local":
            skipped += (Fact.of("profile.sweep_not_local", device.name),)
            continue
        axis, sizes = swept[path].sweep or ("", SizeRange(1, 1))
        batch = device.contract.batch
        feeds = {size: swept[path].feeds(batch, sizes={axis: size}) for size in sizes.points()}
        samples = swept[path].samples(batch)
        plan = MeasurementSettings.of(device, threads=threads, seconds=seconds)
        points, failed = sweep_axis(path, axis, feeds, device, plan, batch=samples, reporter=reporter)
        rows, skipped = (*rows, *points), (*skipped, *failed)
    return rows, skipped


def plan_files(
    paths: Sequence[Path], shapes: Mapping[str, Shape] = NOT_GIVEN, arrays: Feeds = NO_FEEDS
) -> dict[str, FileInputs]:
    """Inputs of each file, by the names of `profile_files`; a shape or array applies to the files that have such an input.

    Args:
        paths: ONNX files; folders are ignored.
        shapes: Shapes of the user by input.
        arrays: Arrays of the user by input.

    Raises:
        ConversionError: A file cannot be read, is damaged, or has inputs of an unsupported type.
        SignatureError: A shape fits no file, or a file runs at no typical size of a free axis.
        DataError: An array fits no file.
    """
    files = named(paths)
    inputs_by_file = {name: {spec.name for spec in read_signature(path).inputs} for name, path in files.items()}
    all_inputs = set[str]().union(*inputs_by_file.values())
    plans = {}
    for name, path in files.items():
        # an input that no file has is passed on, so that `plan_inputs` reports it
        keys = inputs_by_file[name] if all_inputs.issuperset((*shapes, *arrays)) else all_inputs | {*shapes, *arrays}
        plans[name] = plan_inputs(
            path,
            shapes={key: shape for key, shape in shapes.items() if key in keys},
            arrays={key: array for key, array in arrays.items() if key in keys},
        )
    return plans


def _with_inputs(
    rows: Sequence[BenchmarkRow], files: Mapping[str, Path], inputs: Mapping[str, FileInputs], device: Device
) -> list[BenchmarkRow]:
    """Rows with multiply-accumulates and a description of the inputs."""
    batch = device.contract.batch
    return [
        row.model_copy(
            update={
                "inputs": inputs[row.subject].describe(batch),
                "quantities": {
                    **row.quantities,
                    "macs": macs_quantity(files[row.subject], inputs[row.subject].feeds(batch)),
                },
            }
        )
        for row in rows
    ]


def _with_ratios(rows: Sequence[BenchmarkRow], timings: Mapping[str, Timing]) -> list[BenchmarkRow]:
    """Rows with `latency_ratio`, the median latency ÷ that of the first file, from the turns of one session."""
    first = rows[0].subject
    return [
        row
        if row.subject == first
        else row.model_copy(
            update={"quantities": {**row.quantities, "latency_ratio": speedup(slow=timings[row.subject], fast=timings[first])}}
        )
        for row in rows
    ]


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by stem, or by path where two files have the same stem; folders are ignored."""
    files = [path for path in paths if not path.is_dir()]
    stems = [path.stem for path in files]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in files}


def _with_fastest_runtime(
    device: Device, files: Mapping[str, Path], inputs: Mapping[str, FileInputs], plan: MeasurementSettings, reporter: Reporter
) -> MeasurementSettings:
    """The plan with the runtime of the profile that runs the first file fastest."""
    if not device.runtimes:
        return plan
    batch = device.contract.batch
    feeds = {name: [inputs[name].feeds(batch, noise=seed) for seed in range(COMPARED_BATCHES)] for name in files}
    names = (device.runtime, *device.runtimes)
    with pinned(plan.affinity):
        compared = RuntimeInputs(files, feeds, timed=next(iter(files)))
        choice = choose_runtime(names, compared, plan, batch=batch, reporter=reporter)
    for note in choice.notes:
        reporter.line(render(note))
    for skip in choice.skipped:
        reporter.line(gettext("{render_subject} skipped: {render}", render_subject=render_subject(skip), render=render(skip)))
    return replace(plan, runtime=choice.runtime)


def _read_trtexec(folder: Path, reporter: Reporter) -> BenchmarkRow:
    """Row of the results of trtexec in a folder; the slowest layers are reported as lines."""
    benchmark = trtexec.read_row(folder, folder.resolve().name)
    for row in trtexec.read_layers(folder)[:SLOWEST] if (folder / trtexec.PROFILE).exists() else ():
        nodes = row["onnx_nodes"] or gettext("no ONNX node")
        reporter.line(
            gettext(
                "{name}: {median_ms:.3g} ms, {share:.1%}: {layer} ({nodes})",
                name=folder.name,
                median_ms=row["median_ms"],
                share=row["share"],
                layer=row["layer"],
                nodes=nodes,
            )
        )
    return benchmark
