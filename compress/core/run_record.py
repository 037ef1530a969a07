"""The record of a whole run. The report is rendered from it alone, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from compress.core.fact import Facts
from compress.core.frozen_model import FrozenModel
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric, Metrics, StageRecord
from compress.core.verdict import Verdict


class RunRecord(FrozenModel):
    """A whole run, with everything that its report and its repetition need.

    Attributes:
        metric: The deciding metric; None in older records.
        further_metrics: The other metrics of the task.
        start: Metrics of the network before the first stage.
        skipped: Skipped files and samples of the data, with reasons.
        notes: Notes on building and exporting the starting network.
        warnings: The notes that are shown at the head of the report.
        smoke: Whether it was a smoke run, whose numbers are not valid results.
    """

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
    smoke: bool = False
    stages: tuple[StageRecord, ...]
    verdict: Verdict | None
    environment: dict[str, str]
    started: str
    wall_time_s: float

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
