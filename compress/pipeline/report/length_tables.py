"""Tables of measurements by sequence length: one for each device, batch size and network."""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.format_quantity import quantity_label
from compress.core.record import LengthRow, Metric
from compress.core.run_record import RunRecord
from compress.core.sentences.report import word
from compress.pipeline.report.benchmark_rows import length_rows
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.table import Cell, Notes, Table

COMPARED = ("latency_p50_ms", "memory_bytes")
"""Quantities whose change against the first network is shown."""


def length_tables(record: RunRecord) -> tuple[Table, ...]:
    """The tables, which pages show side by side; empty if no stage measured lengths."""
    groups: dict[tuple[str, int], dict[str, list[LengthRow]]] = {}
    for row in length_rows(record):
        groups.setdefault((row.device, row.batch), {}).setdefault(row.subject, []).append(row)
    metric = deciding_metric(record)
    return tuple(
        _length_table(rows, next(iter(by_subject.values())), metric)
        for by_subject in groups.values()
        for rows in by_subject.values()
    )


def _length_table(rows: Sequence[LengthRow], first: Sequence[LengthRow], metric: Metric) -> Table:
    """The lengths of one network, with the changes against the first one."""
    notes = Notes(metric)
    names = tuple(dict.fromkeys(name for row in rows for name in row.quantities))
    against = {row.length: row.quantities for row in first} if rows is not first else {}
    body = tuple(
        (
            Cell(f"{row.length}", key=row.length),
            *(
                notes.cell(
                    name, row.quantities.get(name), against=against.get(row.length, {}).get(name) if name in COMPARED else None
                )
                for name in names
            ),
        )
        for row in rows
    )
    title = word("lengths.table", subject=rows[0].subject, device=rows[0].device, batch=rows[0].batch)
    header = (word("lengths.header"), *(quantity_label(name, metric) for name in names))
    remarks = (word("lengths.change", subject=first[0].subject),) if against else ()
    return Table(title, header, body, notes.sentences(), remarks, beside=True).fold()
