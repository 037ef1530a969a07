"""Comparisons of runs on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from compress.cli.terminal import table
from compress.pipeline.report.table import Table


def show_comparison(console: Console, tables: Sequence[Table]) -> None:
    """Each table under its title."""
    for shown in tables:
        rows = [[" ".join(filter(None, (cell.text, cell.interval))) for cell in row] for row in shown.rows]
        table(console, shown.title, shown.header, rows)
        for note in shown.notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        console.print()
