"""The command line. `main` is the console script, `app` the typer application."""

from __future__ import annotations

from compress.cli.commands import app, main

__all__ = ["app", "main"]
