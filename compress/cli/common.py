"""Common parts of the commands: exit codes, `--trust-code`, the terminal, the message after Ctrl-C."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from compress.core.environment import is_main
from compress.core.language import gettext
from compress.core.printable import printable
from compress.core.user_path import user_path

HOW_TO_RESUME = (
    "interrupted: finished stages and epochs are kept; run the same command again to continue, or add --fresh to start over"
)
BUDGET_MISSED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one value, e.g. stages.prune.target.macs=0.3.")
]
TrustCode = Annotated[bool, typer.Option("--trust-code", help="Allow python: sources and methods of the recipe to run.")]


def run_path(text: str) -> Path:
    """The path of a run as a user writes it; `latest` is followed also where the file system has no symbolic links."""
    from compress.core.latest_run import follow_latest

    return follow_latest(user_path(text))


AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print verdict, limits and metrics as JSON; all else goes to standard error."),
]


@contextmanager
def resumable() -> Iterator[None]:
    """Print on Ctrl-C how to resume; typer would only exit."""
    try:
        yield
    except KeyboardInterrupt:
        if is_main():
            print(f"\n{gettext(HOW_TO_RESUME)}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def terminal(*, quiet: bool = False, stderr: bool = False) -> Console:
    """The terminal; 160 columns wide in a file or pipe. Only the first process of a launch prints."""
    from compress.cli.terminal import SafeConsole

    console = SafeConsole(quiet=quiet or not is_main(), stderr=stderr)
    return console if console.is_terminal else SafeConsole(quiet=console.quiet, stderr=stderr, width=160)


def echo(text: object, *, stderr: bool = False) -> None:
    """Print a line with a path, a message or other text from any source."""
    typer.echo(printable(str(text)), err=stderr)


def echo_json(value: object) -> None:
    """Print records as JSON, with sentences in the language in use where records hold templates and values."""
    from pydantic_core import to_jsonable_python

    from compress.core.text import readable

    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    echo(json.dumps(readable(to_jsonable_python(value)), indent=1, ensure_ascii=not is_unicode))
