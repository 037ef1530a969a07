"""Results of a quantization stage, collected while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from compress.core.entries import Tables
from compress.core.fact import Fact
from compress.core.record import Curve, Metrics
from compress.core.stage import Candidate, Outcome


@dataclass
class StageReport:
    """Results of the stage, collected while it runs; the fields are those of `StageRecord`."""

    results: Metrics = field(default_factory=dict)
    skipped: list[Fact] = field(default_factory=list)
    notes: list[Fact] = field(default_factory=list)
    warnings: list[Fact] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    tables: Tables = field(default_factory=dict)

    def outcome(self, candidate: Candidate) -> Outcome:
        """The outcome of the stage with the files of `candidate`."""
        return Outcome(
            candidate,
            results=self.results,
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            warnings=tuple(self.warnings),
            curves=self.curves,
            tables=self.tables,
        )
