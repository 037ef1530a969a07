"""Tables of a stage: results, skipped items, and tables specific to the stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from compress.core.format_quantity import quantity_label
from compress.core.language import again, gettext
from compress.core.record import Metric, Quantity, StageRecord
from compress.core.sentences import render, render_subject
from compress.core.sentences.names import column_words, table_words
from compress.pipeline.report.table import Cell, Notes, Table, order_names

ROWS_SHOWN = 100
"""Number of rows of a stage table in a report; the record has all rows."""

SHOWN_OF = {"layers_time": 15}
"""Number of rows of tables whose first rows matter most."""


def results_table(stage: StageRecord, metric: Metric) -> Table | None:
    """Further quantities of a stage, or None."""
    if not stage.results:
        return None
    notes = Notes(metric)
    rows = tuple(
        (Cell(quantity_label(name, metric)), notes.cell(name, stage.results[name]))
        for name in order_names(stage.results, metric)
    )
    return Table(gettext("Further results"), ("", gettext("value")), rows, notes.sentences())


def skipped_table(stage: StageRecord) -> Table | None:
    """Skipped items of the stage, grouped by reason, or None."""
    if not stage.skipped:
        return None
    groups: dict[str, list[str]] = {}
    for skip in stage.skipped:
        groups.setdefault(render(skip), []).append(render_subject(skip))
    rows = tuple((Cell(", ".join(subjects)), Cell(reason)) for reason, subjects in groups.items())
    return Table(gettext("Skipped"), (gettext("item"), gettext("reason")), rows)


def own_tables(stage: StageRecord, metric: Metric) -> tuple[Table, ...]:
    """Tables specific to a stage: pruning steps, layers, parity."""
    return tuple(_own_table(name, rows, metric) for name, rows in stage.tables.items() if rows)


def _own_table(name: str, rows: Sequence[Mapping[str, object]], metric: Metric) -> Table:
    notes = Notes(metric)
    shown = SHOWN_OF.get(name, ROWS_SHOWN)
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    body = tuple(tuple(_json_cell(notes, key, row.get(key)) for key in columns) for row in rows[:shown])
    title = table_words(name)
    if len(rows) > shown:
        title = gettext(
            "{title} (the first {shown} of {count} rows; record.json holds all)", title=title, shown=shown, count=len(rows)
        )
    return Table(title, tuple(column_words(key, metric) for key in columns), body, notes.sentences())


def _json_cell(notes: Notes, name: str, item: object) -> Cell:
    """A cell of plain JSON; a `Quantity` as JSON is parsed."""
    if isinstance(item, Mapping) and "how" in item:
        try:
            return notes.cell(name, Quantity.model_validate(item))
        except ValidationError:
            return Cell(json.dumps(item, ensure_ascii=False))
    if item is None:
        return Cell("—")
    if isinstance(item, bool):
        return Cell(gettext("yes") if item else gettext("no"))
    if isinstance(item, float):
        return Cell(f"{item:.4g}".replace("-", "−") if abs(item) < 1e4 else f"{item:,.0f}")
    if isinstance(item, int):
        return Cell(f"{item:,}")
    return Cell(again(item) if isinstance(item, str) else json.dumps(item, ensure_ascii=False))
