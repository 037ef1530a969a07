"""Rows of the profile table: files measured on this machine, or estimated for a device that is not connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from compress.backends.converted.convert import converted, converter_of
from compress.backends.converted.sidecar import network_files
from compress.backends.feeds import describe_feeds
from compress.backends.onnxruntime_runner import provider_of
from compress.backends.open_runner import open_runner, shipped_name
from compress.backends.runner_protocol import Feeds, PhaseTimer, Runner, pinned, zero_feeds
from compress.config.devices import Device
from compress.config.devices.hardware_identity import ReportedHardware, contradicts_profile
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import LATENCY_BY_ARRIVAL, BenchmarkRow, Metrics, Quantity
from compress.core.sentences.settings import setting_words
from compress.core.statistics import drifting_percentile_interval
from compress.profile import power
from compress.profile.cost_model import estimate as cost
from compress.profile.cost_model.calibration_file import MIN_PROCESSOR_SHARE
from compress.profile.latency.arrival import time_arrivals
from compress.profile.latency.interleave import Action
from compress.profile.latency.timing import Timing, time_runners
from compress.profile.memory import memory
from compress.profile.remote.agent_sensors import idle_states
from compress.profile.settings import MeasurementSettings, sensor_targets

PHASE_RUNS = 50
"""Inferences whose copies and computation are timed separately, on a device with its own memory."""
POWER_SECONDS = 1.0
ARRIVAL_SHARE = 0.5
"""Time for each of the patterns `periodic` and `cold`, as a fraction of the time for `back_to_back`."""


def measure_rows(
    files: Mapping[str, Path],
    feeds: Mapping[str, Feeds] | None,
    device: Device,
    plan: MeasurementSettings,
    *,
    batch: int,
    reporter: Reporter,
) -> tuple[tuple[BenchmarkRow, ...], dict[str, Timing]]:
    """Measure files on this machine in one interleaved session.

    Args:
        files: ONNX files by subject.
        feeds: Inputs by subject; None feeds zeros in the input shapes of each file.
        device: Profile of this machine.
        plan: Settings.
        batch: Samples per run.
        reporter: Shows progress bars.

    Returns:
        One row per file, and the timings by subject.

    Raises:
        ConversionError: A file cannot be loaded or run.
        DeviceError: A file's input shapes are not known, memory ran out, or a processor to pin to does not exist.
    """
    with ExitStack() as stack:
        stack.enter_context(pinned(plan.affinity))
        runners = {
            name: stack.enter_context(open_runner(plan.runtime, path, threads=plan.threads)) for name, path in files.items()
        }
        inputs = {name: feeds[name] if feeds else zero_feeds(runner, batch) for name, runner in runners.items()}
        timings = time_runners(runners, inputs, plan.timing, batch=batch, reporter=reporter)
        actions = {name: partial(runner.run, inputs[name]) for name, runner in runners.items()}
        timings = _with_arrivals(timings, actions, device, plan.seconds, reporter)
        phases = {name: copy_and_compute(runner, inputs[name]) for name, runner in runners.items()}
        energy = power.measure(actions, power.open_sensors(sensor_targets(device)), seconds=POWER_SECONDS, batch=batch)
    rows = []
    with reporter.bar(gettext("measuring memory"), len(files)) as bar:
        for name, path in files.items():
            quantities = latencies(timings[name], device.contract.percentiles) | phases[name] | energy[name]
            quantities |= _memory(path, inputs[name], plan)
            row = _measured_row(name, path, timings[name], quantities, device)
            own = {"inputs": describe_feeds(inputs[name]), "file": shipped_name(plan.runtime, path)}
            rows.append(row.model_copy(update=own))
            bar.advance(note=name)
    return tuple(rows), timings


def _memory(path: Path, feeds: Feeds, plan: MeasurementSettings) -> Metrics:
    """Memory in a new process, and sizes of the file."""
    family = plan.runtime.partition(":")[0]
    if converter_of(family) is None:
        resident = memory.quantities(path, feeds, threads=plan.threads, provider=provider_of(plan.runtime))
        return resident | memory.sizes(path) | {"size_compressed_bytes": memory.compressed(memory.parts(path))}
    own = converted(family, path)
    resident = memory.quantities(own, feeds, threads=plan.threads, provider=f"{memory.RUNNER}{family}")
    files = network_files(own)
    size = sum(file.stat().st_size for file in files)
    return (
        resident
        | memory.sizes(path)
        | {
            "size_bytes": Quantity.measured(size, "bytes", gettext("all files that the runtime loads")),
            "size_compressed_bytes": memory.compressed(files),
        }
    )


def _measured_row(name: str, path: Path, timing: Timing, quantities: Metrics, device: Device) -> BenchmarkRow:
    return BenchmarkRow(
        subject=name,
        device=device.name,
        runtime=timing.settings["runtime"],
        quantities=quantities,
        file=path.name,
        local=True,
        arrival=device.contract.arrival,
    )


def _with_arrivals(
    timings: Mapping[str, Timing], actions: Mapping[str, Action], device: Device, seconds: float, reporter: Reporter
) -> dict[str, Timing]:
    rate_hz = device.contract.arrivals_per_s
    with reporter.bar(gettext("measuring latency with periodic inputs and cold caches"), 1) as bar:
        samples = time_arrivals(actions, rate_hz=rate_hz, seconds=seconds * ARRIVAL_SHARE)
        bar.advance()
    return {
        name: timing.with_arrivals({pattern: by_name[name] for pattern, by_name in samples.items()}, rate_hz=rate_hz)
        for name, timing in timings.items()
    }


def latencies(timing: Timing, percentiles: Sequence[float]) -> dict[str, Quantity]:
    """Quantities of a timing: percentiles as `latency_p50_ms`, medians of other arrival patterns, and `throughput_per_s`."""
    quantities = {f"latency_p{percent:g}_ms": quantity for percent, quantity in timing.percentiles(percentiles).items()}
    arrivals = {LATENCY_BY_ARRIVAL[pattern]: other.p50 for pattern, other in timing.arrivals.items()}
    return quantities | arrivals | {"throughput_per_s": timing.throughput}


def copy_and_compute(runner: Runner, feeds: Feeds) -> dict[str, Quantity]:
    """`copy_in_ms`, `compute_ms` and `copy_out_ms` of a runner that can time phases; empty for other runners."""
    if not isinstance(runner, PhaseTimer):
        return {}
    phases = [runner.time_phases(feeds) for _ in range(PHASE_RUNS)]
    detail = gettext("{runtime}, timed by events on the device", runtime=runner.describe()["runtime"])
    series_by_name = {
        name: [getattr(run, name) for run in phases] for name in ("copy_in_ms", "compute_ms", "copy_out_ms")
    }  # fmt: skip
    return {
        name: Quantity.measured(
            float(np.median(series)), "ms", detail, interval=drifting_percentile_interval(series, 0.5), runs=PHASE_RUNS
        )
        for name, series in series_by_name.items()
    }


def estimate_rows(
    files: Mapping[str, Path], device: Device, feeds: Mapping[str, Feeds] | None = None
) -> tuple[BenchmarkRow, ...]:
    """Estimate files for a device that is not connected; quantities without an estimate are missing with the reason.

    Args:
        files: ONNX files by subject.
        device: Device profile.
        feeds: Inputs by subject, for which operators are counted; None counts them at batch 1.

    Raises:
        DeviceError: The profile lacks a value that the estimate needs, or a graph's shapes are not known.
    """
    missing = gettext("{title} is not connected", title=device.title)
    rows = []
    for name, path in files.items():
        latency = cost.latency(path, device, feeds[name] if feeds else None)
        quantities = {"latency_p50_ms": latency, "throughput_per_s": _rate(latency)}
        for percent in device.contract.percentiles:
            key = f"latency_p{percent:g}_ms"
            quantities.setdefault(
                key, Quantity.missing("ms", gettext("{missing}; the cost model estimates the median only", missing=missing))
            )
        for name_of_latency in LATENCY_BY_ARRIVAL.values():
            quantities.setdefault(
                name_of_latency,
                Quantity.missing(
                    "ms", gettext("{missing}; the cost model estimates back-to-back inputs only", missing=missing)
                ),
            )
        quantities["memory_bytes"] = Quantity.missing(
            "bytes", gettext("{missing}; resident memory depends on its runtime", missing=missing)
        )
        quantities["power_w"] = Quantity.missing("W", gettext("{missing}; its power sensor cannot be read", missing=missing))
        quantities["energy_j"] = Quantity.missing("J", gettext("{missing}; its power sensor cannot be read", missing=missing))
        quantities |= memory.sizes(path)
        rows.append(
            BenchmarkRow(
                subject=name,
                device=device.name,
                runtime=gettext("{runtime} (assumed)", runtime=device.runtime),
                quantities=quantities,
                file=path.name,
                inputs=describe_feeds(feeds[name]) if feeds else "",
            )
        )
    return tuple(rows)


def contract_notes(
    device: Device,
    plan: MeasurementSettings,
    timings: Mapping[str, Timing],
    *,
    hardware: ReportedHardware | None = None,
    clocks: Fact | None = None,
) -> tuple[Fact, ...]:
    """Settings of a measurement, and the requirements of the device's measurement protocol that it did not meet.

    Args:
        device: Profile with the protocol.
        plan: Settings of the measurement.
        timings: Timings by subject.
        hardware: Hardware of another machine; None for this machine.
        clocks: Clock readings of another machine; None reads those of this machine.
    """
    first = next(iter(timings.values()))
    settings = tuple(setting_words(key, value) for key, value in first.settings.items())
    subject, profile = (device.title, "") if hardware is None else (str(hardware), device.name)
    notes = [Fact.of("profile.measured_on", subject, profile=profile, settings=settings, batch=first.batch)]
    if hardware is not None and contradicts_profile(device, hardware):
        notes.insert(0, Fact.of("profile.other_hardware", device.name, title=device.title, hardware=str(hardware)))
    contract = device.contract
    if plan.seconds < contract.seconds:
        notes.append(Fact.of("profile.contract_short", device.name, seconds=plan.seconds, contract_seconds=contract.seconds))
    if unsteady := tuple(name for name, timing in timings.items() if not timing.warmup.steady):
        notes.append(Fact.of("profile.contract_unsteady", device.name, files=unsteady))
    runs = {name: len(timing.milliseconds) for name, timing in timings.items()}
    few = {name: count for name, count in runs.items() if count < contract.min_runs}
    if few:
        notes.append(
            Fact.of(
                "profile.contract_few_runs",
                device.name,
                min_runs=contract.min_runs,
                files=tuple(few),
                runs=tuple(few.values()),
            )
        )
    if plan.threads == 1 and first.processor_share < MIN_PROCESSOR_SHARE:
        notes.append(Fact.of("profile.contract_not_idle", device.name, processor_share=first.processor_share))
    notes.append(Fact.of("profile.arrival", device.name, arrival=contract.arrival, arrivals_per_s=contract.arrivals_per_s))
    return (*notes, _clocks(device), _idle_states(device)) if clocks is None else (*notes, clocks)


def _clocks(device: Device) -> Fact:
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    virtual = bool(device.hardware and device.hardware.virtual)
    if not governor.is_file():
        return Fact.of("profile.clocks_unreadable", device.name, virtual=virtual)
    return Fact.of("profile.clocks_not_locked", device.name, virtual=virtual, governor=governor.read_text().strip())


def _idle_states(device: Device) -> Fact:
    states = idle_states()
    if not states:
        return Fact.of("profile.idle_states_unreadable", device.name)
    return Fact.of("profile.idle_states", device.name, states=states)


def _rate(latency: Quantity) -> Quantity:
    value, low, high = latency.value or 0.0, latency.low or 0.0, latency.high or 0.0
    return Quantity.estimated(1000 / value, "1/s", latency.detail, band=(1000 / high, 1000 / low))
