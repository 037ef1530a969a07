"""Cells, tables and the notes below them: every number has its sign and refers to a note on its provenance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from compress.core.format_quantity import (
    display_unit,
    format_change,
    format_interval,
    format_provenance,
    format_quantity,
    quantity_labels,
)
from compress.core.record import How, Metric, Quantity


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: The value with its unit, or words.
        how: Set for a number.
        interval: Its interval or band; empty without one.
        note: Number of the note below the table.
        change: Against the row or column that it is compared with.
    """

    text: str
    how: How | None = None
    interval: str = ""
    note: int | None = None
    change: str = ""


@dataclass(frozen=True)
class Table:
    """A table: the first column names the rows.

    Attributes:
        title: Above it.
        header: As many as every row has cells.
        rows: Cells.
        notes: How the numbers came to be, in the order of the cells' note numbers, counted from 1.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass
class Notes:
    """Numbers the different provenances in one table.

    Args:
        metric: The metric that decides, whose differences are shown in points.
    """

    metric: Metric
    _runs: dict[tuple[How, str], list[int]] = field(default_factory=dict)

    def cell(
        self, name: str, quantity: Quantity | None, *, against: Quantity | None = None, metric: Metric | None = None
    ) -> Cell:
        """A quantity's cell, with its change against another.

        Args:
            name: Of the quantity.
            quantity: The quantity; None where there is none.
            against: What it is compared with.
            metric: The metric that it is of, where that is not the one that decides.
        """
        if quantity is None:
            return Cell("—")
        provenance = (quantity.how, quantity.detail)
        runs = self._runs.setdefault(provenance, [])
        runs += [quantity.runs] if quantity.runs is not None else []
        unit = display_unit(name, quantity, metric or self.metric)
        note = list(self._runs).index(provenance) + 1
        text = format_quantity(quantity, unit).removesuffix(" MAC") if name == "macs" else format_quantity(quantity, unit)
        return Cell(text, quantity.how, format_interval(quantity, unit), note, format_change(against, quantity))

    def sentences(self) -> tuple[str, ...]:
        """One sentence for each provenance, in order."""
        return tuple(self._sentence(how, detail, runs) for (how, detail), runs in self._runs.items())

    def _sentence(self, how: How, detail: str, runs: list[int]) -> str:
        span = sorted({min(runs), max(runs)}) if runs else []
        counted = f"; n = {' to '.join(f'{count:,}' for count in span)}" if span else ""
        empty = "a plain count, no more recorded" if how == "measured" else "no more recorded"
        return f"{format_provenance(Quantity(unit='1', how=how))}: {detail or empty}{counted}"


def order_names(names: Iterable[str], metric: Metric) -> tuple[str, ...]:
    """Each name once: those with a label of their own in the order of the labels, then the others."""
    unique, labels = dict.fromkeys(names), quantity_labels(metric)
    return (*(name for name in labels if name in unique), *(name for name in unique if name not in labels))
