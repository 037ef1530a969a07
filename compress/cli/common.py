"""Parts of all commands: exit codes, the terminal, the message after Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from compress.core.environment import is_main

HOW_TO_RESUME = """
interrupted: finished stages and epochs are kept; run the same command again to continue, or add --fresh to start over"""
BUDGET_MISSED, BAD_INPUT, INTERRUPTED = 1, 2, 130


@contextmanager
def resumable() -> Iterator[None]:
    """Print on Ctrl-C how to resume; typer itself would only exit."""
    try:
        yield
    except KeyboardInterrupt:
        if is_main():
            print(HOW_TO_RESUME, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def terminal(*, quiet: bool = False) -> Console:
    """The terminal; 160 columns wide in a file or pipe. Of several processes of a launch only the first prints."""
    console = Console(quiet=quiet or not is_main())
    return console if console.is_terminal else Console(quiet=console.quiet, width=160)
