"""Names that are safe in a path."""

from __future__ import annotations

import re

CHARACTERS = 80
"""Longest name: a file system takes 255, with the rest of a file's name."""


def safe_file_name(name: str) -> str:
    """A name of at most `CHARACTERS` letters, digits, dashes and underscores; `stage` for an empty one."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:CHARACTERS] or "stage"
