"""Rows of all profile stages, each with the name of the measured network.

A profile stage does not know the stages after it, and calls its network `artifact`. Only the final network
is the artifact: if a later stage changes the network, the report names the row after that stage.
"""

from __future__ import annotations

from compress.core.comparable_latency import first_change_after
from compress.core.record import BenchmarkRow, StageRecord
from compress.core.run_record import RunRecord

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
