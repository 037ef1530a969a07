"""Numbers of the notes of all tables: equal notes have one number, in the order in which readers meet them."""

from __future__ import annotations

from collections.abc import Iterator

from compress.pipeline.report.outline import Outline
from compress.pipeline.report.table import Cell, Table


class Appendix:
    """The notes that cells of a report refer to.

    Args:
        report: The report.

    Attributes:
        notes: The notes; number 1 is the first.
    """

    def __init__(self, report: Outline) -> None:
        referenced = (table.notes[cell.note - 1] for table, cell in _cells(report) if cell.note is not None)
        self.notes = tuple(dict.fromkeys(referenced))
        self._numbers = {note: number for number, note in enumerate(self.notes, start=1)}

    def number(self, table: Table, cell: Cell) -> int | None:
        """The number of the note of a cell, or None."""
        return None if cell.note is None else self._numbers[table.notes[cell.note - 1]]


def _cells(report: Outline) -> Iterator[tuple[Table, Cell]]:
    for section in (*report.front, *report.sections):
        for table in section.tables:
            for row in table.rows:
                for cell in row:
                    yield table, cell
