"""Progress of a running stage: bars and lines.

Stages use only `Reporter`. The command line shows it on the terminal; in Python the default shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """Progress bar of a long step."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Add finished steps; `note`, for example the loss, is shown beside the bar."""


class Reporter(Protocol):
    """Interface through which a stage reports to the user."""

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """Show a bar with the remaining time while the block runs."""

    def line(self, text: str) -> None:
        """Print one line."""


class _SilentBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Do nothing."""


class NullReporter:
    """A reporter that shows nothing."""

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:  # noqa: ARG002
        """Show nothing."""
        yield _SilentBar()

    def line(self, text: str) -> None:
        """Print nothing."""
