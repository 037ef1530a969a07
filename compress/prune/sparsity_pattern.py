"""`pattern:` of a pruning stage: N of M weights that stay (`2:4`), or the shape of a block (`1x4`). Light, without torch."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_MINUTES = 60
_LARGEST = 32
_WRITTEN = re.compile(r"^([1-9]\d?)(:|x)([1-9]\d?)$")


def _read(value: Any) -> str:
    """A pattern in its own spelling; YAML 1.1 reads an unquoted 2:4 as the number of seconds in two minutes and four."""
    text = f"{value // _MINUTES}:{value % _MINUTES}" if type(value) is int else str(value)
    found = _WRITTEN.match(text)
    if not found or int(found[1]) > _LARGEST or int(found[3]) > _LARGEST:
        msg = f"a pattern is N:M such as '2:4' or a block such as '1x4', with numbers from 1 to {_LARGEST}, got {value!r}"
        raise ValueError(msg)
    if found[2] == ":" and int(found[1]) >= int(found[3]):
        msg = f"of every {found[3]} weights fewer than {found[3]} may stay, got {text!r}; write for example '2:4'"
        raise ValueError(msg)
    return text


Pattern = Annotated[str, BeforeValidator(_read)]


def kept_of(pattern: str) -> tuple[int, int]:
    """(N, M) of `N:M`: of every M weights along the input, N stay.

    Raises:
        ValueError: It is a block.
    """
    return _numbers(pattern, ":")


def block_of(pattern: str) -> tuple[int, int]:
    """(rows, columns) of a block `RxC`: output channels × input channels.

    Raises:
        ValueError: It is N:M.
    """
    return _numbers(pattern, "x")


def _numbers(pattern: str, mark: str) -> tuple[int, int]:
    first, found, second = _read(pattern).partition(mark)
    if not found:
        msg = f"expected a pattern such as {'2:4' if mark == ':' else '1x4'}, got {pattern!r}"
        raise ValueError(msg)
    return int(first), int(second)
