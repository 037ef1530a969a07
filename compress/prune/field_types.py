"""Types of recipe fields of pruning: `max_ratio:` and `pattern:`. Imports no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from compress.core.language import gettext

_MINUTES = 60
_LARGEST = 32
_PATTERN = re.compile(r"^([1-9]\d?)(:|x)([1-9]\d?)$")


def _read_ratios(value: object) -> object:
    """Replace the path of a JSON file by its ceilings, so that the recorded recipe contains the numbers."""
    if not isinstance(value, str):
        return value
    try:
        table = json.loads(Path(value).read_text(encoding="utf-8"))
    except OSError as error:
        msg = gettext(
            "cannot read the ceilings in {value!r}: {strerror}; write the file with: compress sensitivity RECIPE",
            value=value,
            strerror=error.strerror,
        )
        raise ValueError(msg) from error
    except ValueError as error:
        msg = gettext(
            "{value!r} is not JSON: {error}; write the file with: compress sensitivity RECIPE", value=value, error=error
        )
        raise ValueError(msg) from error
    if isinstance(table, dict) and isinstance(table.get("max_ratio"), dict):
        return table["max_ratio"]
    msg = gettext(
        "{value!r} has no 'max_ratio' with a ceiling for each layer; write the file with: compress sensitivity RECIPE",
        value=value,
    )
    raise ValueError(msg)


Ratio = Annotated[float, Field(gt=0.0, lt=1.0)]
MaxRatios = Annotated[Ratio | dict[str, Annotated[float, Field(ge=0.0, lt=1.0)]], BeforeValidator(_read_ratios)]
"""Largest fraction of a layer to remove: one for all layers, or one for each glob of layer names; the first match counts."""


def _read_pattern(value: object) -> str:
    """A pattern as text; YAML 1.1 reads an unquoted 2:4 as base 60, thus as the integer 124."""
    text = f"{value // _MINUTES}:{value % _MINUTES}" if type(value) is int else str(value)
    match = _PATTERN.match(text)
    if not match or int(match[1]) > _LARGEST or int(match[3]) > _LARGEST:
        msg = gettext(
            "a pattern is N:M such as '2:4' or a block such as '1x4', with numbers from 1 to {largest}, got {value!r}",
            largest=_LARGEST,
            value=value,
        )
        raise ValueError(msg)
    if match[2] == ":" and int(match[1]) >= int(match[3]):
        msg = gettext("pattern {text!r} removes nothing: N must be smaller than M in N:M; write for example '2:4'", text=text)
        raise ValueError(msg)
    return text


Pattern = Annotated[str, BeforeValidator(_read_pattern)]
"""`N:M`, N of M weights that are kept (`2:4`), or the shape of a block (`1x4`)."""


def parse_n_m(pattern: str) -> tuple[int, int]:
    """(N, M) of `N:M`: of every M weights along the input, N are kept.

    Raises:
        ValueError: The pattern is a block.
    """
    return _split(pattern, ":")


def parse_block(pattern: str) -> tuple[int, int]:
    """(rows, columns) of a block `RxC`: output channels × input channels.

    Raises:
        ValueError: The pattern is N:M.
    """
    return _split(pattern, "x")


def _split(pattern: str, separator: str) -> tuple[int, int]:
    first, match, second = _read_pattern(pattern).partition(separator)
    if not match:
        msg = gettext(
            "expected a pattern such as {example}, got {pattern!r}",
            example="2:4" if separator == ":" else "1x4",
            pattern=pattern,
        )
        raise ValueError(msg)
    return int(first), int(second)
