"""A text file of word vectors, as of GloVe and fastText: a word and its numbers in each line."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.sources.text.read_lines import read_text


def read_vectors(path: Path) -> tuple[list[str], Tensor]:
    """The words and their vectors, float32 (W, D); a first line of two numbers, as of fastText, is left out.

    Args:
        path: The file, UTF-8.

    Raises:
        DataError: A file that cannot be read, or a line with a fault, with its number.
    """
    words: dict[str, None] = {}
    rows: list[list[float]] = []
    for number, line in enumerate(read_text(path, "utf-8").split("\n"), start=1):
        word, *cells = line.rstrip().split(" ")
        if not line.strip() or (number == 1 and len(cells) == 1 and word.isdigit() and cells[0].isdigit()):
            continue
        vector = _numbers(cells)
        if vector is None or not vector or (rows and len(vector) != len(rows[0])):
            msg = gettext(
                "{path} line {line}: no word with {count} finite numbers; write a word and its numbers, separated by blanks",
                path=path,
                line=number,
                count=len(rows[0]) if rows else gettext("some"),
            )
            raise DataError(msg)
        if word not in words:
            words[word] = None
            rows.append(vector)
    if not rows:
        raise DataError(gettext("{path} has no vectors; write a word and its numbers in each line", path=path))
    return list(words), torch.tensor(rows, dtype=torch.float32)


def _numbers(cells: list[str]) -> list[float] | None:
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
