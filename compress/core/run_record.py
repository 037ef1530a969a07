"""The record of a whole run. The report is rendered from it alone, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from compress.core.fact import Facts
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.licence_note import LicenceNote
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric, Metrics, StageRecord
from compress.core.verdict import Verdict

FORMAT_VERSION = 1
"""Version of the format of `record.json` that this package writes. It rises with a release whose records have other fields, or
fields of another meaning: readers of older formats refuse them."""


class RunRecord(FrozenModel):
    """A whole run, with everything that its report and its repetition need.

    Attributes:
        format_version: Version of this format; 0 in a record that was written before the format had one.
        name: Name of the run.
        recipe: The resolved recipe, with all defaults.
        recipe_text: The recipe as it was written; empty for a run from Python.
        spec: Inputs, outputs, classes and preprocessing of the network.
        data: Data settings, with fingerprints of the samples.
        metric: The deciding metric; None in older records.
        further_metrics: The other metrics of the task.
        teacher: Record of the teacher, which is stage 0; None without a teacher.
        start: Metrics of the network before the first stage.
        skipped: Skipped files and samples of the data, with reasons.
        notes: Notes on building and exporting the starting network.
        warnings: The notes that are shown at the head of the report.
        original_sha256: SHA-256 of the ONNX file that the run started from and of its external weights, joined by `+`; empty
            for other networks and in older records.
        reference: Name of the stage whose network the losses of metrics are against, or `teacher` or `start`; empty without one
            and in older records.
        smoke: Whether it was a smoke run, whose numbers are not valid results.
        stages: Records of the stages, in order.
        verdict: Comparison with the limits of the budget; None without a budget and for a smoke run.
        environment: Processor, system and package versions of the machine that ran the stages.
        licences: Origin and licence of networks, data and packages; empty in older records.
        started: Start of the first stage, ISO 8601 in UTC.
        wall_time_s: Sum of the wall times of all stages, s; of a reused stage, that of the run that computed it.
    """

    format_version: int = Field(default=0, ge=0, le=FORMAT_VERSION)
    name: str
    recipe: dict[str, object]
    recipe_text: str
    spec: NetworkSpec
    data: dict[str, object]
    metric: Metric | None = None
    further_metrics: tuple[Metric, ...] = ()
    teacher: StageRecord | None
    start: Metrics
    skipped: Facts = ()
    notes: Facts = ()
    warnings: Facts = ()
    original_sha256: str = ""
    reference: str = ""
    smoke: bool = False
    stages: tuple[StageRecord, ...]
    verdict: Verdict | None
    environment: dict[str, str]
    licences: tuple[LicenceNote, ...] = ()
    started: str
    wall_time_s: float

    @model_validator(mode="before")
    @classmethod
    def _check_version(cls, values: object) -> object:
        version = values.get("format_version") if isinstance(values, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            msg = gettext(
                "it has format {version} and this compress reads formats up to {format_version}; install a newer compress",
                version=version,
                format_version=FORMAT_VERSION,
            )
            raise ValueError(msg)
        return values

    @property
    def every_stage(self) -> tuple[StageRecord, ...]:
        """Records of the teacher, if there is one, and of the stages in order."""
        return (*((self.teacher,) if self.teacher else ()), *self.stages)

    def save(self, path: Path) -> None:
        """Write as JSON; for an atomic write pass a temporary path and rename it."""
        path.write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file of `save`."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
