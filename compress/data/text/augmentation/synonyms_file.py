"""A user's file of synonyms: a CSV table or JSON lines. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.sources.text.read_lines import read_text

COLUMNS = ("word", "synonyms")
SEPARATORS = (";", "|")
"""Between the synonyms in a cell of a CSV table."""
SUFFIXES = (".csv", ".jsonl")


def read_synonyms(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Synonyms by word, in lower case.

    Args:
        path: A CSV table with the columns `word` and `synonyms` (separated by `;` or `|`), or JSON lines such as
            `{"word": "quick", "synonyms": ["fast", "rapid"]}`.

    Raises:
        DataError: A file that cannot be read, or a line with a fault, with its number.
    """
    text = read_text(path, "utf-8")
    rows = _json_rows(text, path) if path.suffix == ".jsonl" else _csv_rows(text, path)
    found: dict[str, tuple[str, ...]] = {}
    for line, word, synonyms in rows:
        if not isinstance(word, str) or not word.strip():
            raise _fault(path, line, gettext("no word"))
        if not isinstance(synonyms, list) or not all(isinstance(each, str) for each in synonyms):
            raise _fault(path, line, gettext("the synonyms are no list of texts"))
        given = tuple(each.strip() for each in synonyms if each.strip() and each.strip().lower() != word.strip().lower())
        if not given:
            raise _fault(path, line, gettext("{word!r} has no synonym besides itself", word=word))
        key = word.strip().lower()
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *given)))
    if not found:
        raise DataError(gettext("{path} has no synonyms; write a word and its synonyms in each line", path=path))
    return found


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, object, object]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if header != list(COLUMNS):
            raise _fault(path, 1, gettext("the header is {header}", header=",".join(header) or gettext("empty")))
        for cells in reader:
            if cells and len(cells) != len(COLUMNS):
                raise _fault(path, reader.line_num, gettext("{count} cells", count=len(cells)))
            if cells:
                synonyms = cells[1].replace(SEPARATORS[1], SEPARATORS[0]).split(SEPARATORS[0])
                yield reader.line_num, cells[0], synonyms
    except csv.Error as error:
        raise _fault(path, reader.line_num, str(error)) from error


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, object, object]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _fault(path, number, gettext("no JSON ({error})", error=error)) from error
        if not isinstance(row, dict):
            raise _fault(path, number, gettext("{kind}, not a JSON object", kind=type(row).__name__))
        yield number, row.get("word"), row.get("synonyms")


def _fault(path: Path, line: int, reason: str) -> DataError:
    example = '{"word": "quick", "synonyms": ["fast", "rapid"]}' if path.suffix == ".jsonl" else "quick,fast;rapid"
    header = "" if path.suffix == ".jsonl" else gettext(" below the header word,synonyms")
    return DataError(
        gettext(
            "{path} line {line}: {reason}; write lines such as {example}{header}",
            path=path,
            line=line,
            reason=reason,
            example=example,
            header=header,
        )
    )
