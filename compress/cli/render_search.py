"""A study on the terminal: the trials as they end, the best ones so far, and the choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from compress.cli.terminal import table
from compress.config.key_path import shorten
from compress.core.format_quantity import PROVENANCE_MARKS, display_unit, format_quantity, format_with_provenance
from compress.core.language import gettext
from compress.core.printable import printable
from compress.core.record import Quantity

if TYPE_CHECKING:
    from compress.search.front import TrialRow, TrialState
    from compress.search.search import SearchResult
    from compress.search.study import SearchStudy

UPDATE_S = 2.0
"""Least time between two updates of the live table, s."""
STATES: Mapping[TrialState, str] = {
    "finished": "finished",
    "pruned": "pruned",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting",
}
LONGEST_FRONT = 20
LONGEST_VALUE = 24


class LiveStudy:
    """Shows a running study: on a terminal a table that changes, elsewhere a line for each trial.

    Args:
        console: Output.
        result_of: The study so far.
    """

    def __init__(self, console: Console, result_of: Callable[[SearchStudy], SearchResult]) -> None:
        self._console = console
        self._result_of = result_of
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._shown: set[int] | None = None
        self._last_s = 0.0

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def update(self, study: SearchStudy) -> None:
        """Show what changed."""
        if self._console.quiet or (self._live is not None and time.monotonic() - self._last_s < UPDATE_S):
            return
        if self._live is not None:
            self._last_s = time.monotonic()
            self._live.update(_grid(*front_table(self._result_of(study)), _counts(study)), refresh=True)
            return
        rows = study.rows()
        settled = {row.number for row in rows if row.state not in ("running", "waiting")}
        for row in rows if self._shown is not None else ():
            if row.number in settled - (self._shown or set()):
                self._console.print(trial_line(row), markup=False, highlight=False, soft_wrap=True)
        if self._shown is None and settled:
            for row in [row for row in rows if row.number in settled][-1:]:
                self._console.print(trial_line(row), markup=False, highlight=False, soft_wrap=True)
        self._shown = settled


def trial_line(row: TrialRow) -> str:
    """A settled trial on one line."""
    values = short_parameters(row.parameters)
    if row.result is None:
        return gettext("trial {number}: {values}: {state}: {reason}", number=row.number, values=values,
                       state=state_words(row), reason=row.reason)  # fmt: skip
    found = ", ".join(f"{name} {shown(name, quantity)}" for name, quantity in row.result.objectives.items())
    return gettext("trial {number}: {values}: {found}{state}", number=row.number, values=values, found=found,
                   state="" if row.is_feasible else f" ({state_words(row)})")  # fmt: skip


def front_table(result: SearchResult) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the best trials so far; where none is within the budget, of the nearest miss."""
    selection = result.selection
    rows = selection.front or ((selection.nearest,) if selection.nearest else ())
    header = [gettext("trial"), *result.directions, gettext("test, not used"), gettext("time"), gettext("values"), ""]
    return header, [_cells(row, result) for row in rows[:LONGEST_FRONT]]


def show_result(console: Console, result: SearchResult) -> None:
    """Show the front, failed trials, the choice and its runner-up, or the nearest miss."""
    header, rows = front_table(result)
    console.print()
    if rows:
        title = gettext("best trials within the budget") if result.selection.front else gettext("nearest miss")
        table(console, title, header, rows, words=True)
    for line in closing_lines(result):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def closing_lines(result: SearchResult) -> list[str]:
    """Counts, reasons of failed trials, and the choice."""
    rows, selection = result.rows, result.selection
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    lines = [", ".join(f"{count} {gettext(STATES[state])}" for state, count in counts.items() if count)]
    for reason, numbers in failures(rows).items():
        lines.append(gettext("failed: {count}: {reason}", count=len(numbers), reason=reason))
    if selection.best is not None:
        lines.append(gettext("choice: trial {number}; its recipe: compress search … --best > best.yaml",
                             number=selection.best.number))  # fmt: skip
    elif selection.nearest is not None:
        lines.append(gettext("no trial is within the budget; nearest is trial {number}", number=selection.nearest.number))
        lines += [f"  {line}" for line in misses(selection.nearest)]
    if selection.runner_up is not None:
        lines.append(gettext("runner-up: trial {number}", number=selection.runner_up.number))
    return lines


def failures(rows: Sequence[TrialRow]) -> dict[str, list[int]]:
    """Numbers of failed trials by reason."""
    reasons: dict[str, list[int]] = {}
    for row in rows:
        if row.state == "failed":
            reasons.setdefault(row.reason, []).append(row.number)
    return reasons


def misses(row: TrialRow) -> list[str]:
    """The limits that a trial breaks, each with its value and what is missing."""
    from compress.core.sentences.limits import allowed_words, limit_words

    if row.result is None:
        return []
    return [
        gettext(
            "{limit}: {value}, allowed {allowed}",
            limit=limit_words(check),
            allowed=allowed_words(check),
            value=format_with_provenance(check.quantity),
        )
        for check in row.result.checks
        if not check.passed
    ]


def shown(name: str, quantity: Quantity) -> str:
    """An objective with its provenance."""
    return f"{format_quantity(quantity, display_unit(name, quantity))} {PROVENANCE_MARKS[quantity.how]}"


def state_words(row: TrialRow) -> str:
    """What became of a trial."""
    return gettext("over the budget") if row.state == "finished" else gettext(STATES[row.state])


def short_parameters(parameters: object) -> str:
    """Values of a trial on one line, under the last words of their key paths."""
    assert isinstance(parameters, dict)  # noqa: S101  # of a row
    return ", ".join(f"{'.'.join(key.split('.')[-2:])}={_short(value)}" for key, value in parameters.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shorten(str(value), LONGEST_VALUE)


def _cells(row: TrialRow, result: SearchResult) -> list[str]:
    assert row.result is not None  # noqa: S101  # of the front
    found = [shown(name, quantity) for name, quantity in row.result.objectives.items()]
    selection = result.selection
    mark = gettext("choice") if row is selection.best else gettext("runner-up") if row is selection.runner_up else ""
    return [str(row.number), *found, shown("", row.result.test), f"{row.result.wall_s:.0f} s",
            short_parameters(row.parameters), mark]  # fmt: skip


def _counts(study: SearchStudy) -> str:
    return ", ".join(f"{count} {gettext(STATES[state])}" for state, count in study.states().items())


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> Table:
    grid = Table(*map(printable, header), box=None, pad_edge=False, caption=printable(caption), caption_justify="left")
    for row in rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    return grid
