"""A comparison of runs as tables, for the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compress.core.format_quantity import difference_unit, format_interval, format_quantity
from compress.core.language import again, gettext
from compress.core.printable import printable
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.markdown import table_lines
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.table import Cell, Notes, Table
from compress.pipeline.review.compare_runs import MISSING, QuantityChange, Setting, compare_quantities, compare_settings
from compress.pipeline.review.difference import direction_words

METHOD = (
    "better, worse: the 95 % interval of the difference excludes zero, or values without intervals differ by more than 1 %. "
    "The interval of a difference is computed from those of the two values; on the same samples a paired one would be narrower."
)

SMOKE = "One of the runs is a smoke run (--smoke): its numbers, and differences from them, are not valid results."


def comparison_tables(baseline: RunRecord, runs: Sequence[RunRecord]) -> tuple[Table, ...]:
    """For each run its quantities and its settings against those of the baseline."""
    return tuple(table for run in runs for table in _tables(baseline, run))


def comparison_markdown(tables: Sequence[Table]) -> str:
    """The tables as Markdown, with the method below."""
    lines = [line for table in tables for line in table_lines(table, titled=True)]
    return printable("\n".join([*lines, gettext(METHOD), ""]))


def _tables(baseline: RunRecord, run: RunRecord) -> Iterator[Table]:
    title = gettext("{run} against {baseline}", run=_name(run), baseline=_name(baseline))
    notes = Notes(deciding_metric(run))
    rows = tuple(_row(comparison, notes) for comparison in compare_quantities(baseline, run))
    smoke = (gettext(SMOKE),) if baseline.smoke or run.smoke else ()
    header = gettext("baseline|run|difference|result").split("|")
    yield Table(title, ("", *header), rows, (*smoke, *notes.sentences()))
    changes = compare_settings(baseline, run)
    if changes:
        settings = tuple((Cell(change.path), Cell(_text(change.first)), Cell(_text(change.second))) for change in changes)
        header = gettext("setting|baseline|run").split("|")
        yield Table(gettext("Settings: {runs}", runs=title), tuple(header), settings)


def _name(record: RunRecord) -> str:
    values = {"name": record.name, "time": record.started[:16].replace("T", " ")}
    if record.smoke:
        return gettext("{name} of {time}, a smoke run", **values)
    return gettext("{name} of {time}", **values)


def _row(comparison: QuantityChange, notes: Notes) -> tuple[Cell, ...]:
    first, second, change = comparison.first, comparison.second, comparison.change
    return (
        Cell(comparison.label),
        notes.cell(comparison.name, first, metric=comparison.metric),
        notes.cell(comparison.name, second, metric=comparison.metric),
        _difference(change.quantity),
        Cell(again(change.quantity.detail) if change.direction == "not comparable" else direction_words(change.direction)),
    )


def _difference(quantity: Quantity) -> Cell:
    if quantity.value is None:
        return Cell("—")
    unit = difference_unit(quantity.unit)
    sign = "+" if quantity.value > 0 else ""
    return Cell(f"{sign}{format_quantity(quantity, unit)}", interval=format_interval(quantity, unit))


def _text(value: Setting) -> str:
    return "null" if value is None else gettext(MISSING) if value == MISSING else str(value)
