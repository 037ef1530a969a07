"""Where a running stage reports to: bars for long steps, a line for each thing worth a line.

Stages know only `Reporter`. The command line gives one that draws; Python callers get the silent one unless they ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """One long step under way."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` as done; `note` stands beside the bar, for example the loss."""


class Reporter(Protocol):
    """What a stage may tell the user while it works."""

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """Show a bar with the time left while the block runs."""

    def line(self, text: str) -> None:
        """Print one line."""


class _SilentBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say nothing."""


class NullReporter:
    """A reporter that says nothing."""

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:  # noqa: ARG002
        """Show nothing."""
        yield _SilentBar()

    def line(self, text: str) -> None:
        """Print nothing."""
