"""Progress of a running stage: a bar for a long step, and single lines.

Stages know only `Reporter`. The command line draws on the terminal; in Python the default reports nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """Bar of one long step."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` as done; `note` is shown beside the bar, for example the loss."""


class Reporter(Protocol):
    """Interface through which a stage reports to the user."""

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """Show a bar with the time left while the block runs."""

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
