"""Measure rows of the profile table on an Android device over adb."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.backends.runner_protocol import Feeds
from compress.config.devices import Device
from compress.config.devices.hardware_identity import contradicts_profile
from compress.core.errors import DeviceError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import Reporter
from compress.core.record import BenchmarkRow, Metrics, Quantity
from compress.data.batch import Split
from compress.profile.benchmark_rows import ARRIVAL_SHARE
from compress.profile.latency.timing import Timing
from compress.profile.memory import memory
from compress.profile.phone.benchmark import PhoneBenchmark
from compress.profile.phone.benchmark_tools import Turn
from compress.profile.phone.phone_state import PhoneFacts, PhoneState, read_facts, read_state
from compress.profile.phone.quantities import latency_quantities, timing_of_turns
from compress.profile.phone.session import PhoneSession, adb_connection
from compress.profile.settings import MeasurementSettings
from compress.profile.this_machine import ProfileRequest, ProfileResult, file_feeds, samples

NO_FILES: Mapping[str, Path] = {}


def measure_rows(
    files: Mapping[str, Path],
    feeds: Mapping[str, Feeds] | None,
    device: Device,
    plan: MeasurementSettings,
    *,
    batch: int,
    reporter: Reporter,
    ready: Mapping[str, Path] = NO_FILES,
) -> tuple[tuple[BenchmarkRow, ...], dict[str, Timing], tuple[Fact, ...]]:
    """Measure files on an Android device in turns, as `remote.measure.measure_rows` does over SSH.

    Args:
        files: ONNX files by subject.
        feeds: Inputs by subject, whose shapes are timed; the values are random ones of the benchmark program.
        device: Device profile with an adb connection.
        plan: Settings.
        batch: Samples per run.
        reporter: Shows progress bars.
        ready: Files already in the format of the benchmark program, by subject.

    Returns:
        One row per file, timings by subject with one time per turn, and notes on the measurement protocol.

    Raises:
        ConversionError: A file cannot be converted for the benchmark program.
        DeviceError: The device cannot be reached, the program is missing or fails, or its output cannot be read.
    """
    require_single_samples(device, batch)
    with PhoneSession(device) as phone, tempfile.TemporaryDirectory(prefix="compress-phone-") as folder:
        benchmark = PhoneBenchmark(phone, plan)
        benchmark.check_program()
        facts, before = read_facts(phone), read_state(phone)
        sent = {}
        with reporter.bar(gettext("sending and trying on {name}", name=device.name), len(files)) as bar:
            for name, path in files.items():
                sent[name] = benchmark.send(name, path, feeds[name] if feeds else None, Path(folder), ready.get(name))
                benchmark.try_once(name)
                bar.advance(note=path.name)
        measured = PhoneTimings.take(benchmark, facts, batch, reporter)
        power = benchmark.power([*files], batch=batch)
        after = read_state(phone)
        sizes = {name: {**file_sizes(path, sent[name]), **power[name]} for name, path in files.items()}
    other = str(facts.hardware) if contradicts_profile(device, facts.hardware) else ""
    rows = tuple(
        BenchmarkRow(
            subject=name,
            device=device.name,
            runtime=measured.runtime,
            quantities=measured.quantities(name) | sizes[name],
            file=path.name,
            other_hardware=other,
            arrival=device.contract.arrival,
            inputs=gettext("random values of {tool}", tool=benchmark.tool.name),
        )
        for name, path in files.items()
    )
    return rows, measured.timings, _notes(device, plan, measured, (before, after), other)


def profile(
    files: Mapping[str, Path], split: Split, device: Device, request: ProfileRequest, reporter: Reporter
) -> ProfileResult:
    """Measure teacher, student and artifact on an Android device, as `remote.measure.profile` does over SSH.

    Raises:
        CompressError: See `measure_rows`.
    """
    batch = device.contract.batch
    plan = MeasurementSettings.of(device, threads=request.threads, seconds=request.seconds)
    feeds = file_feeds(files, samples(split, batch, request.signature))
    shipped = request.variants.get(adb_connection(device).runtime)
    ready = {} if shipped is None or adb_connection(device).runtime == "onnxruntime" else {"artifact": shipped}
    rows, timings, notes = measure_rows(files, feeds, device, plan, batch=batch, reporter=reporter, ready=ready)
    skipped = []
    if request.batches or request.thread_counts:
        skipped.append(Fact.of("profile.sweep_not_local", device.name))
    if device.runtimes:
        skipped.append(Fact.of("profile.runtime_choice_not_phone", device.name, runtime=rows[0].runtime))
    return ProfileResult(rows, timings, notes, tuple(skipped))


@dataclass(frozen=True)
class PhoneTimings:
    """Times of the files of one session.

    Attributes:
        benchmark: The program.
        facts: The device.
        turns: Runs of the program by subject.
        periodic: Runs at a fixed rate by subject; None where the program cannot do that.
        timings: Timings by subject.
    """

    benchmark: PhoneBenchmark
    facts: PhoneFacts
    turns: Mapping[str, Sequence[Turn]]
    periodic: Mapping[str, Turn | None]
    timings: dict[str, Timing]

    @classmethod
    def take(cls, benchmark: PhoneBenchmark, facts: PhoneFacts, batch: int, reporter: Reporter) -> PhoneTimings:
        """Time all files that were sent.

        Raises:
            DeviceError: See `PhoneBenchmark.turn`.
        """
        names, plan, device = [*benchmark.paths], benchmark.plan, benchmark.phone.device
        turns = benchmark.time(names, reporter)
        seconds = plan.seconds * ARRIVAL_SHARE
        periodic = {name: benchmark.periodic(name, device.contract.arrivals_per_s, seconds) for name in names}
        location = gettext("{hardware} over adb at {serial}", hardware=facts.hardware, serial=benchmark.phone.serial)
        settings = {
            "runtime": gettext("{runtime} by {tool}", runtime=benchmark.tool.runtime, tool=benchmark.tool.name),
            "threads": str(plan.threads),
        }
        timings = {name: timing_of_turns(turns[name], settings, location, len(names), batch) for name in names}
        return cls(benchmark, facts, turns, periodic, timings)

    @property
    def runtime(self) -> str:
        """Runtime and program, for people."""
        return next(iter(self.timings.values())).settings["runtime"]

    def quantities(self, name: str) -> Metrics:
        """Latency, throughput, load time and memory of one file."""
        contract = self.benchmark.phone.device.contract
        tool, periodic = self.benchmark.tool, self.periodic[name]
        return latency_quantities(self.turns[name], self.timings[name], tool, contract.percentiles, periodic)


def require_single_samples(device: Device, batch: int) -> None:
    """Raise `DeviceError` for a batch that the file of the benchmark program does not have."""
    if batch > 1 and adb_connection(device).runtime != "onnxruntime":
        msg = gettext(
            "{name}: benchmark_model times files of a single sample, and the measurement protocol has batch {batch}: set "
            "`batch: 1`, or use onnxruntime_perf_test",
            name=device.name,
            batch=batch,
        )
        raise DeviceError(msg)


def file_sizes(source: Path, sent: Path) -> Metrics:
    """Sizes of an ONNX file, and of the file that the benchmark program loads."""
    sizes = memory.sizes(source)
    if sent == source:
        return sizes | {"size_compressed_bytes": memory.compressed(memory.parts(source))}
    size = Quantity.measured(sent.stat().st_size, "bytes", gettext("all files that the runtime loads"))
    return sizes | {"size_bytes": size, "size_compressed_bytes": memory.compressed([sent])}


def _notes(
    device: Device, plan: MeasurementSettings, measured: PhoneTimings, states: tuple[PhoneState, PhoneState], other: str
) -> tuple[Fact, ...]:
    """Settings of the measurement, what of the protocol was not met, and the state of the device."""
    facts, contract = measured.facts, device.contract
    runs = {name: sum(turn.runs for turn in turns) for name, turns in measured.turns.items()}
    few = {name: count for name, count in runs.items() if count < contract.min_runs}
    notes = [
        Fact.of("profile.adb_untried", device.name),
        Fact.of(
            "profile.measured_on_phone",
            str(facts.hardware),
            profile=device.name,
            android=facts.android,
            runtime=measured.runtime,
            threads=plan.threads,
            turns=len(next(iter(measured.turns.values()))),
        ),
    ]
    if other:
        notes.insert(0, Fact.of("profile.other_hardware", device.name, title=device.title, hardware=other))
    if plan.seconds < contract.seconds:
        notes.append(Fact.of("profile.contract_short", device.name, seconds=plan.seconds, contract_seconds=contract.seconds))
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
    before, after = (state.words() for state in states)
    return (*notes, Fact.of("profile.phone_state", device.name, before=before, after=after, power_mode=contract.power_mode))
