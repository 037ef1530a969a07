"""The `profile` stage: measure teacher, student and artifact on the devices of the recipe.

teacher ┐   this machine and connected devices: one interleaved session ─► latency, memory, size, energy
student ├─►
artifact┘   devices that are not connected: estimates of the cost model, marked as such
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PositiveInt

from compress.config.devices import Device, fingerprint, load_device
from compress.core.entries import Row, Tables
from compress.core.errors import CompressError, DeviceError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.record import LENGTHS, BenchmarkRow, Curve, LengthRow, Metrics, Quantity
from compress.core.signature import BATCH, Signature
from compress.core.stage import Candidate, Context, Form, Outcome, Stage

if TYPE_CHECKING:
    from compress.backends.runner_protocol import Feeds
    from compress.profile.latency.timing import Timing
    from compress.profile.layers_and_soak import DetailedProfile
    from compress.profile.this_machine import ProfileResult
    from compress.tasks.capability import Capability

CONTEXTS = (64, 128, 512, 2048)
"""Tokens of the prompts that are measured by default."""


class Profile(Stage):
    """Measure teacher, student and artifact on this machine, over SSH and over adb; estimate them for other devices.

    The student is the float network from which the artifact was quantized.

    Attributes:
        devices: Names or aliases of device profiles, or paths of their files.
        threads: Threads within an operator.
        seconds: Timing per file, runtime and sweep point, without warm-up.
        batches: Batch sizes of a sweep of the artifact on this machine.
        thread_counts: Thread counts of the sweep, each with every batch size.
        lengths: Sequence lengths at which networks with a free axis of tokens are measured, at batch 1 and `batches`; the
            default ones end at the largest length that the network takes. Of networks of audio in samples, by default half,
            once and twice the typical length, and the longest. Empty measures none.
        contexts: Tokens of the prompts at which networks that write texts are measured, with further tokens after each; those
            that the network does not take have the reason. Empty measures none.
        soak_seconds: Duration of a soak test on this machine, which runs the artifact without pause and looks for drift,
            throttling and leaks; None runs no soak test.
    """

    accepts: ClassVar[tuple[Form, ...]] = ("torch", "onnx")

    devices: tuple[str, ...] = Field(default=("host",), min_length=1)
    threads: int = Field(default=1, ge=1)
    seconds: float = Field(default=2.0, gt=0.0)
    batches: tuple[PositiveInt, ...] = ()
    thread_counts: tuple[PositiveInt, ...] = ()
    lengths: tuple[PositiveInt, ...] = LENGTHS
    contexts: tuple[PositiveInt, ...] = CONTEXTS
    soak_seconds: float | None = Field(default=None, gt=0.0)

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """What contexts of one's own need."""
        return {} if set(self.contexts) <= set(CONTEXTS) else {"contexts": ("writes_text",)}

    def run(self, candidate: Candidate, context: Context) -> Outcome:
        """Profile the candidate, which is not changed."""
        from compress.profile import connected, this_machine
        from compress.profile.benchmark_rows import estimate_rows
        from compress.profile.generation.stage_rows import generation_rows
        from compress.profile.latency.by_length import length_axis
        from compress.profile.latency.real_time import typical_factor
        from compress.profile.latency.timing import speedup

        rows: list[BenchmarkRow] = []
        notes: list[Fact] = []
        skipped: list[Fact] = []
        results: Metrics = {}
        tables: Tables = {}
        curves: dict[str, Curve] = {}
        length_rows: list[LengthRow] = []
        request = this_machine.ProfileRequest(
            self.threads, self.seconds, self.batches, self.thread_counts, candidate.files, signature=candidate.spec.signature
        )
        for device in self._devices(context.targets):
            files = files_for(device, candidate, context)
            if device.connection is None:
                try:
                    rows += estimate_rows(files, device, feeds_of_free_axes(files, candidate.spec.signature, context))
                    length_rows += self._lengths(files, device, candidate, context)
                except DeviceError as error:
                    skipped.append(Fact.of("profile.estimate_failed", device.name, error=message_of(error)))
                continue
            device_request = replace(request, runtime=candidate.runtimes.get(device.name))
            measure = this_machine.profile if device.connection == "local" else connected.profile
            result = measure(files, context.data.validation, device, device_request, context.reporter)
            length_rows += self._lengths(files, device, candidate, context, result)
            if device.connection != "local" and self.lengths and length_axis(candidate.spec.signature):
                skipped.append(Fact.of("profile.lengths_not_local", device.name))
            detail = self._detail(files, device, candidate, context, result)
            results |= detail.results
            curves |= detail.curves
            timings = result.timings
            rows += result.rows
            notes += (*result.notes, *detail.notes)
            skipped += (*result.skipped, *detail.skipped)
            more_tables = (*result.tables.items(), *detail.tables.items())
            tables |= {name: (*tables.get(name, ()), *more) for name, more in more_tables}
            compared, left_out = self._postprocessing(device, candidate, context, result)
            spoken, not_spoken = generation_rows(files, device, context, self.contexts, self.threads)
            tables |= {"generation": (*tables.get("generation", ()), *spoken)} if spoken else {}
            skipped += not_spoken
            tables |= {"post_processing": (*tables.get("post_processing", ()), *compared)} if compared else {}
            skipped += left_out
            gains = {name: speedup(timings[name], timings["artifact"]) for name in timings if name != "artifact"}
            place = "" if device.connection == "local" else f"_on_{device.name}"
            results |= {f"speedup_vs_{name}{place}": gain for name, gain in gains.items()} | size_ratios(result.rows)
            results |= {
                f"speedup_vs_{name}_{pattern}{place}": speedup(other, timings["artifact"].arrivals[pattern])
                for name in gains
                for pattern, other in timings[name].arrivals.items()
            }
            notes += [_not_faster(name, gain, timings) for name, gain in gains.items() if (gain.low or 0.0) <= 1.0]
        results |= typical_factor(length_rows, candidate.spec)
        return Outcome(
            candidate,
            results=results,
            benchmark_rows=tuple(rows),
            length_rows=tuple(length_rows),
            skipped=tuple(skipped),
            notes=tuple(notes),
            warnings=tuple(note for note in notes if note.code == "profile.other_hardware"),
            curves=curves,
            tables=tables,
        )

    def _lengths(
        self,
        files: dict[str, Path],
        device: Device,
        candidate: Candidate,
        context: Context,
        result: ProfileResult | None = None,
    ) -> tuple[LengthRow, ...]:
        """Rows by sequence length: measured on this machine, else estimated; empty for devices over SSH and other networks."""
        from compress.profile import lengths, this_machine
        from compress.profile.latency.by_length import length_grid, measure_lengths
        from compress.profile.latency.real_time import default_lengths, in_real_time
        from compress.profile.settings import MeasurementSettings

        grid = length_grid(candidate.spec.signature, default_lengths(candidate.spec, self.lengths), self.batches)
        if grid is None or device.connection not in (None, "local"):
            return ()
        files |= {"artifact": result.artifact} if result and result.artifact else {}
        arrays = {batch: this_machine.samples(context.data.validation, batch) for batch in grid.batches}
        feeds_at = lengths.feeds_of_data(files, arrays, candidate.spec.signature, grid.axis)
        if result is None:
            return in_real_time(lengths.estimate_lengths(files, feeds_at, grid, device), candidate.spec)
        settings = MeasurementSettings.of(device, threads=self.threads, seconds=self.seconds)
        plan = replace(settings, runtime=result.runtime or device.runtime)
        rows = measure_lengths(files, feeds_at, grid, plan, device=device.name, reporter=context.reporter)
        return in_real_time(rows, candidate.spec)

    def _detail(
        self, files: dict[str, Path], device: Device, candidate: Candidate, context: Context, result: ProfileResult
    ) -> DetailedProfile:
        """Layer times and soak test; empty for another machine."""
        from compress.profile import layers_and_soak, this_machine

        if device.connection != "local":
            return layers_and_soak.DetailedProfile()
        files |= {"artifact": result.artifact} if result.artifact else {}
        return layers_and_soak.profile_detail(
            files,
            this_machine.file_feeds(
                files, this_machine.samples(context.data.validation, device.contract.batch, candidate.spec.signature)
            ),
            runtime=result.runtime or device.runtime,
            threads=self.threads,
            seconds=self.seconds,
            soak_seconds=self.soak_seconds,
            reporter=context.reporter,
        )

    def _postprocessing(
        self, device: Device, candidate: Candidate, context: Context, result: ProfileResult
    ) -> tuple[tuple[Row, ...], tuple[Fact, ...]]:
        """Time and metric of the artifact with its post-processing in the graph and outside, where the task has any."""
        from compress.profile import this_machine
        from compress.profile.postprocessing import compare_postprocessing
        from compress.profile.settings import MeasurementSettings

        if context.task.postprocessing is None:
            return (), ()
        if result.artifact is None:
            return (), (Fact.of("profile.postprocessing_not_local", device.name),)
        batch = device.contract.batch
        settings = MeasurementSettings.of(device, threads=self.threads, seconds=self.seconds)
        plan = replace(settings, runtime=result.runtime or device.runtime)
        feeds = this_machine.samples(context.data.validation, batch)
        try:
            rows = compare_postprocessing(result.artifact, feeds, candidate.spec, context, plan, batch=batch)
        except CompressError as error:
            return (), (Fact.of("profile.postprocessing_failed", device.name, error=message_of(error)),)
        return tuple({"device": device.name, **row} for row in rows), ()

    def smoke(self) -> Self:
        """The same devices with a fraction of the time."""
        soak = None if self.soak_seconds is None else min(self.soak_seconds, 1.0)
        update = {
            "seconds": min(self.seconds, 0.1),
            "soak_seconds": soak,
            "lengths": self.lengths[:1],
            "contexts": self.contexts[:1],
        }
        return self.model_copy(update=update)

    def cache_inputs(self, targets: tuple[Device, ...]) -> dict[str, object]:
        """Fingerprints of the devices, because measurements depend on them; for this machine its detected hardware."""
        return {device.name: fingerprint(device) for device in self._devices(targets)}

    def _devices(self, targets: tuple[Device, ...]) -> list[Device]:
        """The device profiles of the stage without duplicates; a profile in the recipe has priority."""
        by_name = {name: device for device in targets for name in (device.name, *device.aliases)}
        devices = [by_name.get(name) or load_device(name) for name in self.devices]
        return list({device.name: device for device in devices}.values())


def files_for(device: Device, candidate: Candidate, context: Context) -> dict[str, Path]:
    """ONNX files by subject: `teacher`, `teacher_2`, …, `artifact`, and `student` if the artifact is another file."""
    names = ("teacher", *(f"teacher_{index}" for index in range(2, len(context.teacher_files) + 1)))
    files = dict(zip(names, context.teacher_files, strict=False))
    artifact = candidate.file_for(device.runtime) if candidate.files else None
    if artifact is None:
        if context.to_onnx is None:
            msg = gettext("a torch candidate is profiled as ONNX, but this context has no to_onnx")
            raise TypeError(msg)
        artifact = context.to_onnx(candidate)
    if context.float_file is not None and context.float_file.resolve() != artifact.resolve():
        files["student"] = context.float_file
    return files | {"artifact": artifact}


def feeds_of_free_axes(files: dict[str, Path], signature: Signature, context: Context) -> dict[str, Feeds] | None:
    """Inputs of one sample by subject, for files whose operators depend on free axes; None for files without one."""
    from compress.profile import this_machine

    if set(signature.free_axes) <= {BATCH}:
        return None
    return this_machine.file_feeds(files, this_machine.samples(context.data.validation, 1, signature))


def size_ratios(rows: tuple[BenchmarkRow, ...]) -> Metrics:
    """`size_ratio_vs_…`: size on disk of each other subject ÷ size of the artifact."""
    sizes = {row.subject: row.quantities["size_bytes"].value or 0.0 for row in rows}
    artifact = sizes.pop("artifact")
    return {
        f"size_ratio_vs_{name}": Quantity.measured(size / artifact, "1", gettext(
"{size:.0f} bytes ÷ {artifact:.0f} bytes on disk", size=size, artifact=artifact))
        for name, size in sizes.items()
    }  # fmt: skip


def _not_faster(name: str, gain: Quantity, timings: Mapping[str, Timing]) -> Fact:
    artifact, other = timings["artifact"].p50, timings[name].p50
    if gain.value is None or artifact.value is None or other.value is None:
        return Fact.of("profile.speedup_unknown", name, reason=gain.detail)
    return Fact.of(
        "profile.not_faster",
        name,
        artifact_ms=artifact.value,
        latency_ms=other.value,
        speedup=gain.value,
        low=gain.low,
        high=gain.high,
    )
