"""The runs below a folder of runs, and the link `latest` to the one that ended last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from compress.core.run_directory import RECORD

LATEST = "latest"
"""Link to the run that ended last, in the folder of all runs."""


def records_below(out: Path) -> Iterator[Path]:
    """The records of all runs below a folder of runs, each once: the link to the latest run is left out."""
    for record in sorted(out.glob(f"*/*/{RECORD}")):
        if not any(folder.is_symlink() for folder in record.parents[:2]):
            yield record


def link_latest(out: Path, run: Path) -> None:
    """Make `latest` in the folder of all runs lead to a run, in one step.

    It is a relative symbolic link; where the file system has none, a text file with the same relative path, which
    `follow_latest` reads. Nothing happens where a folder has this name, or the folder of all runs cannot be written to.

    Args:
        out: Folder of all runs.
        run: A run directory below it.
    """
    link = out / LATEST
    if link.is_dir() and not link.is_symlink():
        return
    target = run.relative_to(out)
    aside = out / f".{LATEST}.{os.getpid()}"
    with suppress(OSError):
        try:
            aside.unlink(missing_ok=True)
            try:
                aside.symlink_to(target, target_is_directory=True)
            except OSError:
                aside.write_text(target.as_posix(), encoding="utf-8")
            aside.replace(link)
        finally:
            aside.unlink(missing_ok=True)


def follow_latest(run: Path) -> Path:
    """The run directory that a `latest` without symbolic link names; any other path as it is."""
    if run.name != LATEST or not run.is_file():
        return run
    with suppress(OSError, UnicodeDecodeError):
        parts = Path(run.read_text(encoding="utf-8")[:1000]).parts
        if parts and not Path(*parts).is_absolute() and ".." not in parts:
            return run.parent.joinpath(*parts)
    return run
