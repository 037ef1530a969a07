"""Rows of all profile stages, each under the name of the network that was measured.

A profile stage does not know what comes after it, and calls the network that it measures `artifact`. Only the network that
ships is the artifact: where a later stage changed the network, the report names the row after that stage.
"""

from __future__ import annotations

from compress.core.comparable_latency import first_change_after
from compress.core.record import BenchmarkRow, RunRecord, StageRecord

ARTIFACT = "artifact"


def benchmark_rows(record: RunRecord) -> tuple[tuple[StageRecord, BenchmarkRow], ...]:
    """All measured or estimated rows, with the stage that produced them."""
    rows = []
    for stage in record.stages:
        change = first_change_after(record, stage)
        for row in stage.benchmark_rows:
            if change is not None and row.subject == ARTIFACT:
                row = row.model_copy(update={"subject": f"network before {change.name}"})
            rows.append((stage, row))
    return tuple(rows)
