"""`jsonl:PATH`: a JSON object in each line, or a folder with `train.jsonl`, `validation.jsonl` and `test.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.text.files import split_files
from compress.data.sources.text.read_lines import read_text
from compress.data.sources.text.rows import TEXTS, Row, TableExample, table_of
from compress.data.text.build import build_text_data
from compress.data.text.table import TextTable


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the files and split them.

    Raises:
        DataError: Missing files, another encoding, lines that are no JSON objects, keys that do not exist.
        MissingPackageError: tokenizers is not installed.
    """
    tables = {split: read_jsonl(file, settings) for split, file in split_files(origin.path, "jsonl").items()}
    return build_text_data(tables, settings, origin)


def read_jsonl(path: Path, settings: DataSettings, example: TableExample = TEXTS) -> TextTable:
    """The texts of one file; a key that a line lacks is an empty cell.

    Args:
        path: The file.
        settings: The `data:` block.
        example: Of such a table, for messages.

    Raises:
        DataError: As for `load`.
    """
    rows: list[Row] = []
    names: dict[str, None] = {}
    for number, line in enumerate(read_text(path, settings.encoding).split("\n"), start=1):
        if line.strip():
            cells = _object(line, path, number, example.row)
            names |= dict.fromkeys(cells)
            rows.append((f"{path.name} line {number}", cells))
    return table_of(rows, list(names), settings.columns, str(path), example)


def _object(line: str, path: Path, number: int, example: str) -> dict[str, object]:
    try:
        cells = json.loads(line)
    except ValueError as error:
        msg = gettext(
            "{path} line {line}: no JSON ({error}); write one object in each line, such as {example}",
            path=path,
            line=number,
            error=error,
            example=example,
        )
        raise DataError(msg) from error
    if not isinstance(cells, dict):
        msg = gettext(
            "{path} line {line}: {kind}, not a JSON object; write one in each line, such as {example}",
            path=path,
            line=number,
            kind=type(cells).__name__,
            example=example,
        )
        raise DataError(msg)
    return cells
