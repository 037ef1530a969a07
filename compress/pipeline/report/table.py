"""Cells, tables and notes: every number has a sign and refers to a note on its provenance.

Rows and columns in which nothing was measured are folded into one line with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from compress.core.format_quantity import (
    display_unit,
    format_change,
    format_interval,
    format_provenance,
    format_quantity,
    quantity_labels,
)
from compress.core.language import again, gettext, joined
from compress.core.record import How, Metric, Quantity

NONE = "—"
"""Text of a cell without a quantity."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: The value with its unit, or words.
        how: Provenance of a number.
        interval: Its interval or band; empty without one.
        note: Index of the note below the table.
        change: Change against the row or column that it is compared with.
        key: Number to sort by; None for words.
        tone: How a page colours it: `met`, `not-shown` or `missed`; empty for plain text.
        reason: Why it was not measured; empty where it was.
    """

    text: str
    how: How | None = None
    interval: str = ""
    note: int | None = None
    change: str = ""
    key: float | None = None
    tone: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        title: Title above the table.
        header: Header of each column.
        rows: Cells.
        notes: Provenance of the numbers, in the order of the note indices of the cells, from 1.
        remarks: Sentences below the table.
        folded: Rows or columns without a measured value: their names, and the reason.
        collapsed: Whether Markdown folds it, as it is for looking up.
        beside: Whether pages show it beside the tables around it, where there is room.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    folded: tuple[tuple[str, str], ...] = ()
    collapsed: bool = False
    beside: bool = False

    def fold(self) -> Table:
        """The table without rows and columns in which no quantity was measured; these become lines with the reason.

        Columns without any quantity are left out.
        """
        rows = [row for row in self.rows if not _reasons(row)]
        folded = _group((row[0].text, _reasons(row)) for row in self.rows if _reasons(row))
        unmeasured = {index: _reasons(row[index] for row in rows) for index in range(len(self.header))}
        folded += _group((self.header[index], reasons) for index, reasons in unmeasured.items() if reasons)
        blank = {index for index in unmeasured if index and rows and all(row[index].text == NONE for row in rows)}
        columns = [index for index, reasons in unmeasured.items() if not reasons and index not in blank]
        return replace(
            self,
            header=tuple(self.header[index] for index in columns),
            rows=tuple(tuple(row[index] for index in columns) for row in rows),
            folded=(*self.folded, *folded),
        )


def _reasons(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Why nothing was measured in cells; empty if a quantity was, or if there is none."""
    quantities = [cell for cell in cells if cell.how is not None]
    if not quantities or any(cell.how != "not measured" for cell in quantities):
        return ()
    return tuple(dict.fromkeys(cell.reason for cell in quantities))


def _group(unmeasured: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[tuple[str, str], ...]:
    """Names with the same reasons together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, reasons in unmeasured:
        groups.setdefault(reasons, []).append(name)
    return tuple((joined(names, ", "), joined(filter(None, reasons))) for reasons, names in groups.items())


@dataclass
class Notes:
    """Numbers the notes on provenance of a table.

    Args:
        metric: The deciding metric, whose differences are shown in points.
    """

    metric: Metric
    _runs: dict[tuple[How, str], list[int]] = field(default_factory=dict)

    def cell(
        self, name: str, quantity: Quantity | None, *, against: Quantity | None = None, metric: Metric | None = None
    ) -> Cell:
        """The cell of a quantity, with its change against another quantity.

        Args:
            name: Name of the quantity.
            quantity: The quantity, or None.
            against: The quantity that it is compared with, or None.
            metric: Its metric, if that is not the deciding metric.
        """
        if quantity is None:
            return Cell(NONE)
        provenance = (quantity.how, again(quantity.detail))
        runs = self._runs.setdefault(provenance, [])
        runs += [quantity.runs] if quantity.runs is not None else []
        unit = display_unit(name, quantity, metric or self.metric)
        note = list(self._runs).index(provenance) + 1
        text = format_quantity(quantity, unit).removesuffix(" MAC") if name == "macs" else format_quantity(quantity, unit)
        return Cell(
            text,
            quantity.how,
            format_interval(quantity, unit),
            note,
            format_change(against, quantity),
            key=quantity.value,
            reason=provenance[1] if quantity.value is None else "",
        )

    def sentences(self) -> tuple[str, ...]:
        """A sentence for each provenance, in order."""
        return tuple(self._sentence(how, detail, runs) for (how, detail), runs in self._runs.items())

    def _sentence(self, how: How, detail: str, runs: list[int]) -> str:
        span = sorted({min(runs), max(runs)}) if runs else []
        empty = gettext("a count without further details") if how == "measured" else gettext("no more recorded")
        values = {"how": format_provenance(Quantity(unit="1", how=how)), "detail": detail or empty}
        if len(span) == 2:
            return gettext("{how}: {detail}; n = {least:,} to {most:,}", least=span[0], most=span[1], **values)
        return (
            gettext("{how}: {detail}; n = {count:,}", count=span[0], **values) if span else gettext("{how}: {detail}", **values)
        )


def order_names(names: Iterable[str], metric: Metric) -> tuple[str, ...]:
    """Each name once: names with their own label in the order of the labels, then the others."""
    unique, labels = dict.fromkeys(names), quantity_labels(metric)
    return (*(name for name in labels if name in unique), *(name for name in unique if name not in labels))
