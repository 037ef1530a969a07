"""Numbers with their noun, in the language in use."""

from __future__ import annotations

from compress.core.language import ngettext


def threads_text(count: int | str) -> str:
    """A number of threads: `1 thread`."""
    return ngettext("{number} thread", "{number} threads", int(count))


def files_in_turns(count: int) -> str:
    """A number of files that were timed alternately: `2 files timed in turns`."""
    return ngettext("{number} file timed in turns", "{number} files timed in turns", count)
