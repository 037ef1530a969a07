"""`csv:PATH`: a table with a header, or a folder with `train.csv`, `validation.csv` and `test.csv`.

Cells are separated by commas, in `.tsv` by tabs; where the header has no comma, by the tab, semicolon or bar that it has.
Quotes are those of RFC 4180. Files without an own validation or test split are divided by seed and class.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.text.files import split_files
from compress.data.sources.text.read_lines import read_text
from compress.data.sources.text.rows import TEXTS, Row, TableExample, table_of
from compress.data.text.build import build_text_data
from compress.data.text.table import TextTable

if TYPE_CHECKING:
    from _csv import Reader

SEPARATORS = ",\t;|"
LONGEST_CELL = 2**24
"""Characters; a longer cell is a quote that is not closed."""


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the tables and split them.

    Raises:
        DataError: Missing files, another encoding, rows with too many or too few cells, columns that do not exist.
        MissingPackageError: tokenizers is not installed.
    """
    files = split_files(origin.path, "csv")
    tables = {split: read_csv(file, settings) for split, file in files.items()}
    return build_text_data(tables, settings, origin)


def read_csv(path: Path, settings: DataSettings, example: TableExample = TEXTS) -> TextTable:
    """The texts of one file.

    Args:
        path: The file.
        settings: The `data:` block.
        example: Of such a table, for messages.

    Raises:
        DataError: As for `load`.
    """
    text = read_text(path, settings.encoding)
    csv.field_size_limit(LONGEST_CELL)
    header = text.partition("\n")[0]
    separator = "\t" if path.suffix in (".tsv", ".tab") else next((each for each in SEPARATORS if each in header), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names = [name.strip() for name in next(reader, [])]
    return table_of(_rows(reader, names, path), names, settings.columns, str(path), example)


def _rows(reader: Reader, names: Sequence[str], path: Path) -> Iterator[Row]:
    try:
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                msg = gettext(
                    "{path} line {line}: {count} cells, the header has {names}; quote cells that hold the separator, and "
                    "double the quotes in them",
                    path=path,
                    line=reader.line_num,
                    count=len(cells),
                    names=len(names),
                )
                raise DataError(msg)
            yield f"{path.name} line {reader.line_num}", dict(zip(names, cells, strict=True))
    except csv.Error as error:
        msg = gettext(
            "{path} line {line}: {error}; quote cells with the separator, quotes or line breaks, and double the quotes in them",
            path=path,
            line=reader.line_num,
            error=error,
        )
        raise DataError(msg) from error
