"""Types of recipe fields of pruning: `max_ratio:` and `pattern:`. Light: read without torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

_MINUTES = 60
_LARGEST = 32
_PATTERN = re.compile(r"^([1-9]\d?)(:|x)([1-9]\d?)$")


def _read_ratios(value: object) -> object:
    """Replace the name of a JSON file by the ceilings in it, so that the recipe on record holds the numbers."""
    if not isinstance(value, str):
        return value
    try:
        table = json.loads(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read the ceilings in {value!r}: {error.strerror}; make them with: compress sensitivity RECIPE"
        raise ValueError(msg) from error
    except ValueError as error:
        msg = f"{value!r} is not JSON: {error}"
        raise ValueError(msg) from error
    if isinstance(table, dict) and isinstance(table.get("max_ratio"), dict):
        return table["max_ratio"]
    msg = f"{value!r} has no 'max_ratio' with a ceiling for each layer; make it with: compress sensitivity RECIPE"
    raise ValueError(msg)


Ratio = Annotated[float, Field(gt=0.0, lt=1.0)]
MaxRatios = Annotated[Ratio | dict[str, Annotated[float, Field(ge=0.0, lt=1.0)]], BeforeValidator(_read_ratios)]
"""Largest fraction of a layer that may be removed: of every layer, or by glob of layer names, the first match counting."""


def _read_pattern(value: object) -> str:
    """A pattern in its own spelling; YAML 1.1 reads an unquoted 2:4 as the number of seconds in two minutes and four."""
    text = f"{value // _MINUTES}:{value % _MINUTES}" if type(value) is int else str(value)
    match = _PATTERN.match(text)
    if not match or int(match[1]) > _LARGEST or int(match[3]) > _LARGEST:
        msg = f"a pattern is N:M such as '2:4' or a block such as '1x4', with numbers from 1 to {_LARGEST}, got {value!r}"
        raise ValueError(msg)
    if match[2] == ":" and int(match[1]) >= int(match[3]):
        msg = f"of every {match[3]} weights fewer than {match[3]} may stay, got {text!r}; write for example '2:4'"
        raise ValueError(msg)
    return text


Pattern = Annotated[str, BeforeValidator(_read_pattern)]
"""N of M weights that stay (`2:4`), or the shape of a block (`1x4`)."""


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
    first, separator, second = _read_pattern(pattern).partition(mark)
    if not separator:
        msg = f"expected a pattern such as {'2:4' if mark == ':' else '1x4'}, got {pattern!r}"
        raise ValueError(msg)
    return int(first), int(second)
