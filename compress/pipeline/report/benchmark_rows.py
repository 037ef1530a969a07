"""Rows of all profile stages, each with the name of the measured network.

A profile stage does not know the stages after it, and calls its network `artifact`. Only the final network
is the artifact: if a later stage changes the network, the report names the row after that stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from compress.core.comparable_latency import first_change_after
from compress.core.language import gettext
from compress.core.record import BenchmarkRow, LengthRow, StageRecord
from compress.core.run_record import RunRecord
from compress.pipeline.report.generation_rows import with_generation

ARTIFACT = "artifact"
Row = TypeVar("Row", BenchmarkRow, LengthRow)


def benchmark_rows(record: RunRecord) -> tuple[tuple[StageRecord, BenchmarkRow], ...]:
    """All measured or estimated rows, with the stage that produced them."""
    return tuple(
        (stage, row)
        for stage in record.stages
        for row in _renamed(record, stage, [with_generation((stage,), each) for each in stage.benchmark_rows])
    )


def length_rows(record: RunRecord) -> tuple[LengthRow, ...]:
    """The rows by sequence length of the last profile stage that has any."""
    stage = next((stage for stage in reversed(record.stages) if stage.length_rows), None)
    return () if stage is None else tuple(_renamed(record, stage, stage.length_rows))


def _renamed(record: RunRecord, stage: StageRecord, rows: Iterable[Row]) -> Iterator[Row]:
    change = first_change_after(record, stage)
    for row in rows:
        other = change is not None and row.subject == ARTIFACT
        yield (
            row.model_copy(update={"subject": gettext("network before {stage}", stage=change.name)})
            if change and other
            else row
        )
