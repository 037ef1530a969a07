"""Choose the runtime of an artifact for this machine: the fastest whose outputs agree with the default and keep the metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.backends.open_runner import file_for
from compress.core.entries import Row
from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext, message_of
from compress.core.stage import Candidate, Context

if TYPE_CHECKING:
    from compress.config.devices import Device

SECONDS, SMOKE_SECONDS = 1.0, 0.05
"""Timing per runtime, without warm-up."""


@dataclass
class RuntimeChoices:
    """Choices for all profiles of this machine.

    Attributes:
        runtimes: Chosen runtime by name of the profile.
        rows: Rows of the table `runtimes` of the record.
        skipped: Skipped runtimes, with the reason.
        notes: Reasons of the choices.
    """

    runtimes: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    skipped: list[Fact] = field(default_factory=list)
    notes: list[Fact] = field(default_factory=list)

    def add(self, device: Device, candidate: Candidate, context: Context, refusals: Mapping[str, str]) -> None:
        """Time the runtimes of a profile, each with its file, and add the choice.

        Args:
            device: A profile of this machine.
            candidate: Candidate with ONNX files by runtime family.
            context: Context with validation images.
            refusals: Why a runtime cannot be used, by name.
        """
        from compress.profile.fastest_runtime import RuntimeInputs, choose_runtime
        from compress.profile.runtimes.metric_check import metric_check
        from compress.profile.settings import MeasurementSettings
        from compress.profile.this_machine import batches

        names = dict.fromkeys((device.runtime, *device.runtimes))
        self.skipped += [
            Fact.of("export.runtime_refused", name, device=device.name, reason=refusals[name])
            for name in names
            if name in refusals
        ]
        allowed = [name for name in names if name not in refusals]
        if device.runtime not in allowed or len(allowed) < 2:
            return
        seconds = SMOKE_SECONDS if context.smoke else min(SECONDS, device.contract.seconds)
        plan = MeasurementSettings.of(device, threads=device.threads, seconds=seconds)
        files = {"artifact": file_for(device.runtime, candidate.files, candidate.files["onnxruntime"])}
        feeds = {"artifact": batches(context.data.validation, device.contract.batch, files["artifact"])}
        try:
            check = metric_check(context.task, context.data.validation, gettext("validation"))
            inputs = RuntimeInputs(files, feeds, variants=candidate.files, check=check)
            choice = choose_runtime(allowed, inputs, plan, batch=device.contract.batch, reporter=context.reporter)
        except CompressError as error:
            self.skipped.append(
                Fact.of("export.no_runtime_choice", device.name, runtime=device.runtime, error=message_of(error))
            )
            return
        self.runtimes[device.name] = choice.runtime
        self.rows += [{"device": device.name, **row} for row in choice.rows]
        self.skipped += [_for_device(skip, device) for skip in choice.skipped]
        self.notes += [_for_device(note, device) for note in choice.notes]


def _for_device(fact: Fact, device: Device) -> Fact:
    return fact.model_copy(update={"values": {**fact.values, "device": device.name}})


def with_runtimes(candidate: Candidate, runtimes: Mapping[str, str], folder: Path) -> Candidate:
    """The candidate with the chosen runtimes, its files copied to the folder of the stage."""
    from compress.backends import onnx_files

    files = {}
    for family, path in candidate.files.items():
        files[family] = folder / path.name
        if files[family] != path:
            onnx_files.copy(path, files[family])
    return replace(candidate, files=files, runtimes=dict(runtimes))
