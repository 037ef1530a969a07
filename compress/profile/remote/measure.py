"""Measure rows of the profile table on a device over SSH."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compress.backends.feeds import describe_feeds
from compress.backends.runner_protocol import Array, Feeds
from compress.config.devices import Device
from compress.config.devices.hardware_identity import ReportedHardware, contradicts_profile
from compress.core.counted import files_in_turns, threads_text
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import LATENCY_BY_ARRIVAL, BenchmarkRow, Metrics, Quantity
from compress.core.sentences.settings import setting_words
from compress.data.batch import Split
from compress.profile.benchmark_rows import ARRIVAL_SHARE, POWER_SECONDS, contract_notes, latencies
from compress.profile.latency.interleave import Samples, Warmup
from compress.profile.latency.timing import STEPS, Timing
from compress.profile.memory import memory
from compress.profile.remote.jobs import Job, build_job
from compress.profile.remote.messages import AgentFacts, ClockReadings, FileResult, Measurements, RunSettings, Series
from compress.profile.remote.session import RemoteSession
from compress.profile.remote.ssh import ssh_connection
from compress.profile.settings import MeasurementSettings
from compress.profile.this_machine import ProfileRequest, ProfileResult, file_feeds, samples


def measure_rows(
    files: Mapping[str, Path],
    feeds: Mapping[str, Feeds] | None,
    device: Device,
    plan: MeasurementSettings,
    *,
    batch: int,
    reporter: Reporter,
) -> tuple[tuple[BenchmarkRow, ...], dict[str, Timing], tuple[Fact, ...]]:
    """Measure files on a device over SSH in one interleaved session, as `benchmark_rows.measure_rows` does on this machine.

    Args:
        files: ONNX files by subject.
        feeds: Inputs by subject; None feeds zeros in the input shapes of each file.
        device: Device profile with an SSH connection.
        plan: Settings.
        batch: Samples per run.
        reporter: Shows progress bars.

    Returns:
        One row per file, the timings by subject, and notes on the measurement protocol.

    Raises:
        DeviceError: The device cannot be reached, the connection is lost, a program is missing, or the runtime rejects a model.
    """
    where = ssh_connection(device)
    settings: RunSettings = {
        "batch": batch,
        "threads": plan.threads,
        "seconds": plan.seconds,
        "warmup_seconds": plan.warmup_seconds,
        "min_runs": plan.min_runs,
        "affinity": list(plan.affinity),
        "power_seconds": POWER_SECONDS,
        "arrivals_per_s": device.contract.arrivals_per_s,
        "arrival_seconds": plan.seconds * ARRIVAL_SHARE,
        "trtexec": where.trtexec,
    }
    job = build_job(files, feeds, device, settings)
    result, facts = _run_job(device, job, reporter)
    gpu = next(iter(result["files"].values()))["settings"].get("device", "")
    hardware = ReportedHardware(facts["cpu"], facts["architecture"], gpu)
    location = gettext("{hardware} over SSH at {ssh}", hardware=hardware, ssh=where.ssh)
    timings = {name: timing_of(name, result, location, batch, device.contract.arrivals_per_s) for name in files}
    other = str(hardware) if contradicts_profile(device, hardware) else ""
    rows = tuple(
        _row(name, path, result["files"][name], timings[name], device, location, feeds[name] if feeds else None).model_copy(
            update={"other_hardware": other}
        )
        for name, path in files.items()
    )
    clocks = _clocks(device, facts, result["clocks"])
    return rows, timings, contract_notes(device, plan, timings, hardware=hardware, clocks=clocks)


def profile(
    files: Mapping[str, Path],
    split: Split,
    device: Device,
    request: ProfileRequest,
    reporter: Reporter,
) -> ProfileResult:
    """Measure teacher, student and artifact on a device over SSH, as `this_machine.profile` does on this machine.

    Args:
        files: ONNX files by subject; one is `artifact`.
        split: Source of the inputs.
        device: Device profile with an SSH connection.
        request: What to measure; sweeps and the choice of the runtime are skipped.
        reporter: Shows progress bars.

    Raises:
        DeviceError: See `measure_rows`.
    """
    batch = device.contract.batch
    plan = MeasurementSettings.of(device, threads=request.threads, seconds=request.seconds)
    feeds = file_feeds(files, samples(split, batch, request.signature))
    rows, timings, notes = measure_rows(files, feeds, device, plan, batch=batch, reporter=reporter)
    skipped = []
    if request.batches or request.thread_counts:
        skipped.append(Fact.of("profile.sweep_not_local", device.name))
    if device.runtimes:
        skipped.append(Fact.of("profile.runtime_choice_not_remote", device.name))
    return ProfileResult(rows, timings, notes, tuple(skipped))


def _run_job(device: Device, job: Job, reporter: Reporter) -> tuple[Measurements, AgentFacts]:
    """Send files and inputs and measure; returns the result of the worker and the facts of the agent."""
    host = ssh_connection(device).ssh
    with RemoteSession(device) as remote, tempfile.TemporaryDirectory() as folder:
        with reporter.bar(gettext("sending to {host}", host=host), len(job.files) + len(job.arrays)) as bar:
            for name, path in job.files.items():
                remote.put(path, name)
                bar.advance(note=path.name)
            for name, array in job.arrays.items():
                remote.put(_save_input(array, Path(folder) / Path(name).name), name)
                bar.advance(note=name)
        with reporter.bar(gettext("measuring on {name}", name=device.name), STEPS) as bar:
            shown = 0

            def show(fraction: float) -> None:
                nonlocal shown
                bar.advance(int(fraction * STEPS) - shown)
                shown = int(fraction * STEPS)

            return remote.work(job.order, advance=show), remote.facts


def _save_input(array: Array, path: Path) -> Path:
    """Write an input: raw bytes for `trtexec`, else .npy."""
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        path.write_bytes(np.ascontiguousarray(array).tobytes())
    return path


def timing_of(name: str, result: Measurements, location: str, batch: int, rate_hz: float) -> Timing:
    """Times of one file of a result, for all arrival patterns.

    Args:
        name: Subject.
        result: Result of the worker.
        location: Device, for people.
        batch: Samples per run.
        rate_hz: Rate of periodic arrivals.
    """
    file_result = result["files"][name]
    samples = _samples(file_result)
    settings, files = file_result["settings"], len(result["files"])
    threads = settings["threads"]
    detail = gettext(
        "{location}, {runtime}, {threads}, batch {batch}, {files}",
        location=location,
        runtime=settings["runtime"],
        threads=threads_text(threads),
        batch=batch,
        files=files_in_turns(files),
    )
    timing = Timing(samples, settings, detail, batch, result["processor_share"])
    arrivals = {pattern: _samples(series) for pattern, series in file_result["arrivals"].items()}
    return timing.with_arrivals(arrivals, rate_hz=rate_hz)


def _samples(series: Series) -> Samples:
    return Samples(np.array(series["milliseconds"]), np.array(series["rounds"]), Warmup(**series["warmup"]))


def _row(
    name: str, path: Path, file_result: FileResult, timing: Timing, device: Device, location: str, inputs: Feeds | None
) -> BenchmarkRow:
    quantities = latencies(timing, device.contract.percentiles)
    for latency in LATENCY_BY_ARRIVAL.values():
        quantities.setdefault(
            latency,
            Quantity.missing("ms", gettext("{location}: trtexec does not fill the caches with other data", location=location)),
        )
    for key, figure in file_result["power"].items():
        quantity = Quantity.model_validate(figure)
        quantities[key] = _at(location, quantity)
    quantities |= memory_quantities(file_result, location)
    quantities |= memory.sizes(path)
    quantities["size_compressed_bytes"] = memory.compressed(memory.parts(path))
    return BenchmarkRow(
        subject=name,
        device=device.name,
        runtime=timing.settings["runtime"],
        quantities=quantities,
        file=path.name,
        arrival=device.contract.arrival,
        inputs=describe_feeds(inputs) if inputs else "",
    )


def memory_quantities(file_result: FileResult, location: str) -> Metrics:
    """Memory and load time of one file, or the reason why they are missing."""
    reading = file_result["memory"]
    if "reason" in reading:
        reason = gettext("{location}: {detail}", location=location, detail=reading["reason"])
        return {key: Quantity.missing("bytes", reason) for key in ("memory_bytes", "memory_model_bytes")}
    footprint = memory.footprint_quantities(memory.Footprint(**reading))
    return {key: _at(location, quantity) for key, quantity in footprint.items()}


def _at(location: str, quantity: Quantity) -> Quantity:
    """A quantity with the device in its detail."""
    return quantity.model_copy(update={"detail": gettext("{location}: {detail}", location=location, detail=quantity.detail)})


def _clocks(device: Device, facts: AgentFacts, readings: ClockReadings) -> Fact:
    """Clocks, temperature and power mode of the device before and after the measurement."""
    return Fact.of(
        "profile.remote_clocks",
        device.name,
        system=facts["system"],
        architecture=facts["architecture"],
        processors=facts["processors"],
        python=facts["python"],
        power_mode=device.contract.power_mode,
        before=tuple(setting_words(key, value) for key, value in readings["before"].items()),
        after=tuple(setting_words(key, value) for key, value in readings["after"].items()),
    )
