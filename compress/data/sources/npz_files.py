"""Files of an `npz:` source. Light: read without numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SPLITS = ("train", "validation", "test")


def npz_files(path: Path) -> Sequence[Path]:
    """The files of a source: those of the three splits in a folder, or the file itself."""
    return [path / f"{name}.npz" for name in SPLITS] if path.is_dir() else [path]
