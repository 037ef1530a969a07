"""The terminal: progress bars with the time left, lines, tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from compress.core.language import gettext
from compress.core.printable import printable
from compress.core.progress import Bar

LOG_SECONDS = 60.0
"""Least time between two lines of progress where the output is no terminal, such as the log of a run in the background."""


class SafeConsole(Console):
    """A console that shows control characters in text instead of sending them to the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render with printable text in every segment."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move the bar."""
        self._progress.update(self._task, advance=steps, note=printable(note))


class _LoggedBar:
    """Progress as lines, of which a step that is shorter than `LOG_SECONDS` prints none."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        self._console, self._what, self._total = console, what, total
        self._done, self._printed_s = 0, time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Print a line where the last one is long ago."""
        self._done += steps
        now = time.monotonic()
        if now - self._printed_s < LOG_SECONDS:
            return
        self._printed_s = now
        text = gettext("{what}: {done} of {total}", what=self._what, done=self._done, total=self._total)
        self._console.print(printable(f"{text} {note}".rstrip()), markup=False, highlight=False, soft_wrap=True)


class Terminal:
    """A reporter on the terminal: bars disappear after their step, lines remain.

    Args:
        console: Output; where it is no terminal, a bar is a line each minute.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """Show one bar while the block runs."""
        if not self.console.is_terminal:
            yield _LoggedBar(self.console, what, total)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn(gettext("left")),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield _RichBar(progress, progress.add_task(printable(what), total=total, note=""))

    def line(self, text: str) -> None:
        """Print one line as it is."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False) -> None:
    """Print rows under a header; the first column and columns of words are left-aligned, numbers right-aligned."""
    grid = Table(
        title=Text(printable(title)) if title else None, title_justify="left", header_style="bold", box=None, pad_edge=False
    )
    for index, name in enumerate(header):
        grid.add_column(Text(printable(name)), justify="left" if index == 0 or words else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    console.print(grid)
