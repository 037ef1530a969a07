"""The table of `compress profile`: one for each device, with a column for each network and its ratio to the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from compress.cli.render import cell_of
from compress.cli.terminal import table
from compress.core.format_quantity import (
    PROVENANCE_MARKS,
    format_value,
    quantity_label,
)
from compress.core.language import gettext
from compress.core.record import BenchmarkRow

RATIO = "latency_ratio"
"""The ratio of latencies, which its own column shows."""


def show_benchmark(console: Console, rows: Sequence[BenchmarkRow]) -> None:
    """Show a table for each device, and below it how its numbers were measured, each sentence once."""
    for device in dict.fromkeys(row.device for row in rows):
        of_device = [row for row in rows if row.device == device]
        _show_device(console, device, of_device)
        console.print()


def _show_device(console: Console, device: str, rows: Sequence[BenchmarkRow]) -> None:
    first, *others = rows
    runtimes = ", ".join(dict.fromkeys(str(row.runtime) for row in rows))
    if not others:
        title = gettext("{subject} on {device} ({runtime})", subject=first.subject, device=device, runtime=runtimes)
    else:
        title = gettext("{count} networks on {device} ({runtime})", count=len(rows), device=device, runtime=runtimes)
    header = ["", *(row.subject for row in rows), *(f"{row.subject} ÷ {first.subject}" for row in others)]
    names = [name for name in dict.fromkeys(name for row in rows for name in row.quantities) if name != RATIO]
    cells = [
        [
            quantity_label(name),
            *(_cell(name, row) for row in rows),
            *(_ratio(name, first, row) for row in others),
        ]
        for name in names
    ]
    if any(row.inputs for row in rows):
        cells.append([gettext("inputs"), *(str(row.inputs) for row in rows), *([""] * len(others))])
    table(console, title, header, cells)
    for line in _sources(rows):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cell(name: str, row: BenchmarkRow) -> str:
    quantity = row.quantities.get(name)
    return "" if quantity is None else cell_of(quantity)


def _ratio(name: str, first: BenchmarkRow, row: BenchmarkRow) -> str:
    """The ratio of a quantity to that of the first network: with its interval where both were timed in turns."""
    before, after = first.quantities.get(name), row.quantities.get(name)
    if name == "latency_p50_ms" and (measured := row.quantities.get(RATIO)):
        return cell_of(measured)
    if before is None or after is None or not before.value or after.value is None or before.how != after.how:
        return ""
    if after.how == "measured" and after.low is not None:  # a sampled number, whose ratio has no interval
        return ""
    return f"{format_value(after.value / before.value, '1')} {PROVENANCE_MARKS[after.how]}"


def _sources(rows: Sequence[BenchmarkRow]) -> Iterator[str]:
    """How the numbers were measured or estimated, or why they were not: each sentence once, with the quantities it is of."""
    of_sentence: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, quantity in row.quantities.items():
            if quantity.detail:
                key = (PROVENANCE_MARKS[quantity.how], str(quantity.detail))
                label = quantity_label(name)
                if label not in of_sentence.setdefault(key, []):
                    of_sentence[key].append(label)
    for (mark, sentence), labels in of_sentence.items():
        yield f"{mark} {', '.join(labels)}: {sentence}"
