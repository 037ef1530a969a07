"""Profile ONNX files on their own, without a recipe."""

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
from compress.core.progress import NullReporter, Reporter
from compress.core.record import BenchmarkRow
from compress.core.sentences import render, render_subject
from compress.profile import trtexec_results as trtexec
from compress.profile.benchmark_rows import contract_notes, estimate_rows, measure_rows
from compress.profile.cost_model.executed_work import macs_quantity
from compress.profile.fastest_runtime import RuntimeInputs, choose_runtime
from compress.profile.file_inputs import NO_FEEDS, NOT_GIVEN, FileInputs, plan_inputs
from compress.profile.input_shapes import Shape, SizeRange
from compress.profile.latency.axis_sweep import Rows, sweep_axis
from compress.profile.remote import measure as remote
from compress.profile.settings import MeasurementSettings

COMPARED_BATCHES = 8
"""Batches of noise on which runtimes are compared."""
SLOWEST = 5
"""Number of layers of an engine that are reported, slowest first."""


def profile_files(
    paths: Sequence[Path],
    devices: Sequence[Device],
    *,
    threads: int = 1,
    seconds: float = 2.0,
    reporter: Reporter | None = None,
    inputs: Mapping[str, FileInputs] | None = None,
) -> tuple[BenchmarkRow, ...]:
    """Measure ONNX files on this machine and over SSH, and estimate them on the devices named that are out of reach.

    They are fed zeros, at typical sizes where an axis is free and `inputs` gives none. Subjects are named after the
    files; notes on how the measurement was made go to the reporter as lines.

    Args:
        paths: ONNX files; or folders with what `build_engine.sh` left there, which are read, and named after their device.
        devices: Profiles; one with a `connection` is measured.
        threads: Within an operator.
        seconds: Counted time of each file.
        reporter: Bars and lines.
        inputs: Of each file, by name, see `plan_files`; None plans them.

    Raises:
        ConversionError: Not an ONNX file, external data missing, opset newer than the runtime.
        SignatureError: No typical size fits a free axis.
        DeviceError: Nothing to profile, a profile without what an estimate needs, or a device that is
            not in reach or not fit.
    """
    if not paths or not devices:
        msg = f"nothing to profile: {len(paths)} files on {len(devices)} devices; name at least one of each"
        raise DeviceError(msg)
    say = reporter or NullReporter()
    rows = [_read(path, say) for path in paths if path.is_dir()]
    files = named(paths)
    inputs = plan_files(paths) if inputs is None else inputs
    for device in devices if files else ():
        feeds = {name: inputs[name].feeds(device.contract.batch) for name in files}
        batch = max(inputs[name].samples(device.contract.batch) for name in files)
        if device.connection == "local":
            plan = MeasurementSettings.of(device, threads=threads, seconds=seconds)
            plan = _in_the_fastest(device, files, inputs, plan, say)
            measured, timings = measure_rows(files, feeds, device, plan, batch=batch, reporter=say)
            rows += _with_inputs(measured, files, inputs, device)
            for note in contract_notes(device, plan, timings):
                say.line(render(note))
        elif device.connection is not None:
            plan = MeasurementSettings.of(device, threads=threads, seconds=seconds)
            measured, _, notes = remote.measure_rows(files, feeds, device, plan, batch=batch, reporter=say)
            rows += _with_inputs(measured, files, inputs, device)
            for note in notes:
                say.line(render(note))
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
    """Sweep the files whose `inputs` have a range of sizes, on this machine.

    Args:
        paths: ONNX files.
        devices: Profiles; those with `connection: local` are measured, the others listed as left out.
        inputs: Of each file, by name.
        threads: Within an operator.
        seconds: Counted time of each size.
        reporter: Shows bars.

    Returns:
        Rows as of `sweep_axis`; and what was left out, with the reason.

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
    """Inputs of files by name, as `profile_files` names them; each file takes the shapes and arrays of the inputs that it has.

    Args:
        paths: ONNX files; folders are left out.
        shapes: Given shapes by input.
        arrays: Given inputs by name.

    Raises:
        ConversionError: A file cannot be read, is damaged, or has inputs that cannot be fed.
        SignatureError: A shape fits no file, or no typical size of a free axis runs.
        DataError: An array fits no file.
    """
    files = named(paths)
    own = {name: {spec.name for spec in read_signature(path).inputs} for name, path in files.items()}
    everywhere = set[str]().union(*own.values())
    plans = {}
    for name, path in files.items():
        taken = own[name] if everywhere.issuperset((*shapes, *arrays)) else everywhere | {*shapes, *arrays}
        plans[name] = plan_inputs(
            path,
            shapes={key: shape for key, shape in shapes.items() if key in taken},
            arrays={key: array for key, array in arrays.items() if key in taken},
        )
    return plans


def _with_inputs(
    rows: Sequence[BenchmarkRow], files: Mapping[str, Path], inputs: Mapping[str, FileInputs], device: Device
) -> list[BenchmarkRow]:
    """Rows with multiply-accumulates, and which sizes of the inputs are typical ones."""
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


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by stem, by full path where two share one; folders are left out."""
    files = [path for path in paths if not path.is_dir()]
    stems = [path.stem for path in files]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in files}


def _in_the_fastest(
    device: Device, files: Mapping[str, Path], inputs: Mapping[str, FileInputs], plan: MeasurementSettings, say: Reporter
) -> MeasurementSettings:
    """The plan with the runtime, of those that the profile names, that runs the first file fastest."""
    if not device.runtimes:
        return plan
    batch = device.contract.batch
    feeds = {name: [inputs[name].feeds(batch, noise=seed) for seed in range(COMPARED_BATCHES)] for name in files}
    names = (device.runtime, *device.runtimes)
    with pinned(plan.affinity):
        compared = RuntimeInputs(files, feeds, timed=next(iter(files)))
        choice = choose_runtime(names, compared, plan, batch=batch, reporter=say)
    for note in choice.notes:
        say.line(render(note))
    for skip in choice.skipped:
        say.line(f"{render_subject(skip)} left out: {render(skip)}")
    return replace(plan, runtime=choice.runtime)


def _read(folder: Path, say: Reporter) -> BenchmarkRow:
    """Results of trtexec in a folder; its slowest layers are reported as lines."""
    measured = trtexec.subject(folder, folder.resolve().name)
    for row in trtexec.read_layers(folder)[:SLOWEST] if (folder / trtexec.PROFILE).exists() else ():
        behind = row["onnx_nodes"] or "no ONNX node"
        say.line(f"{folder.name}: {row['median_ms']:.3g} ms, {row['share']:.1%}: {row['layer']} ({behind})")
    return measured
