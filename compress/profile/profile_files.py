"""Profile ONNX files on their own, without a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compress.backends.check_file import check_onnx_file
from compress.backends.runner_protocol import pinned
from compress.config.devices import Device
from compress.core.errors import DeviceError
from compress.core.progress import NullReporter, Reporter
from compress.core.record import BenchmarkRow
from compress.core.sentences import render, render_subject
from compress.profile import trtexec_results as trtexec
from compress.profile.benchmark_rows import contract_notes, estimate_rows, measure_rows
from compress.profile.fastest_runtime import RuntimeInputs, choose_runtime, noise_feeds
from compress.profile.remote import measure as remote
from compress.profile.settings import MeasurementSettings

SLOWEST = 5
"""Number of layers of an engine that are reported, slowest first."""


def profile_files(
    paths: Sequence[Path],
    devices: Sequence[Device],
    *,
    threads: int = 1,
    seconds: float = 2.0,
    reporter: Reporter | None = None,
) -> tuple[BenchmarkRow, ...]:
    """Measure ONNX files on this machine and over SSH, and estimate them on the devices named that are out of reach.

    They are fed zeros of their own input shapes, batch 1 where the batch is free. Subjects are named after the files; notes on
    how the measurement was made go to the reporter as lines.

    Args:
        paths: ONNX files; or folders with what `build_engine.sh` left there, which are read, and named after their device.
        devices: Profiles; one with a `connection` is measured.
        threads: Within an operator.
        seconds: Counted time of each file.
        reporter: Bars and lines.

    Raises:
        ConversionError: Not an ONNX file, external data missing, opset newer than the runtime.
        DeviceError: Nothing to profile, input shapes not known, a profile without what an estimate needs, or a device that is
            not in reach or not fit.
    """
    if not paths or not devices:
        msg = f"nothing to profile: {len(paths)} files on {len(devices)} devices; name at least one of each"
        raise DeviceError(msg)
    say = reporter or NullReporter()
    rows = [_read(path, say) for path in paths if path.is_dir()]
    files = named(paths)
    for path in files.values():
        check_onnx_file(path)
    for device in devices if files else ():
        if device.connection == "local":
            plan = _in_the_fastest(device, files, MeasurementSettings.of(device, threads=threads, seconds=seconds), say)
            measured, timings = measure_rows(files, None, device, plan, batch=device.contract.batch, reporter=say)
            rows += measured
            for note in contract_notes(device, plan, timings):
                say.line(render(note))
        elif device.connection is not None:
            plan = MeasurementSettings.of(device, threads=threads, seconds=seconds)
            measured, _, notes = remote.measure_rows(files, None, device, plan, batch=device.contract.batch, reporter=say)
            rows += measured
            for note in notes:
                say.line(render(note))
        else:
            rows += estimate_rows(files, device)
    return tuple(rows)


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by stem, by full path where two share one; folders are left out."""
    files = [path for path in paths if not path.is_dir()]
    stems = [path.stem for path in files]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in files}


def _in_the_fastest(device: Device, files: Mapping[str, Path], plan: MeasurementSettings, say: Reporter) -> MeasurementSettings:
    """The plan with the runtime, of those that the profile names, that runs the first file fastest."""
    if not device.runtimes:
        return plan
    batch = device.contract.batch
    feeds = {name: noise_feeds(device.runtime, path, batch) for name, path in files.items()}
    names = (device.runtime, *device.runtimes)
    with pinned(plan.affinity):
        inputs = RuntimeInputs(files, feeds, timed=next(iter(files)))
        choice = choose_runtime(names, inputs, plan, batch=batch, reporter=say)
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
