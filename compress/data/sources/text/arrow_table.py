"""Tables of Apache Arrow: `parquet:PATH`, and the folders that Hugging Face's `datasets` writes. pyarrow is optional.

Numbers of classes become their names where the file has them, as `datasets` writes them in the metadata of its schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.errors import DataError, MissingPackageError, message_line
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.text.files import split_files
from compress.data.sources.text.rows import table_of
from compress.data.text.build import build_text_data
from compress.data.text.settings import Columns
from compress.data.text.table import TextTable

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES = b"huggingface"
"""Key of the metadata of `datasets` in a schema."""


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read a table, or one for each split in a folder, and split them.

    Raises:
        DataError: Missing or damaged files, columns that do not exist.
        MissingPackageError: pyarrow or tokenizers is not installed.
    """
    files = split_files(origin.path, "parquet")
    return build_text_data({split: read_files([file], settings.columns) for split, file in files.items()}, settings, origin)


def read_files(files: Sequence[Path], columns: Columns) -> TextTable:
    """The texts of files with the same columns, one after the other.

    Args:
        files: `.parquet` or `.arrow` files.
        columns: Columns of texts and targets.

    Raises:
        DataError: As for `load`.
        MissingPackageError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingPackageError("pyarrow", "parquet", gettext("reading {path}", path=files[0])) from error
    tables = [_read(file) for file in files]
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        msg = gettext("{path}: the files have other columns ({error})", path=files[0].parent, error=message_line(error))
        raise DataError(msg) from error
    return text_table(table.to_pydict(), class_names(table.schema.metadata), columns, str(files[0]))


def text_table(
    values: Mapping[str, Sequence[object]], classes: Mapping[str, Sequence[str]], columns: Columns, place: str
) -> TextTable:
    """The table of texts in columns.

    Args:
        values: Cells by column.
        classes: Names of the classes of columns that hold their numbers.
        columns: Columns of texts and targets.
        place: File in messages.

    Raises:
        DataError: A column does not exist, or holds no texts.
    """
    cells = {
        name: [_named(cell, classes[name]) for cell in column] if name in classes else column for name, column in values.items()
    }
    count = len(next(iter(values.values()), ()))
    rows = ((f"{Path(place).name} row {row + 1}", {name: cells[name][row] for name in cells}) for row in range(count))
    return table_of(rows, list(cells), columns, place)


def class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, Sequence[str]]:
    """Names of the classes of each column of class numbers, from the metadata of a schema that `datasets` wrote."""
    try:
        features = json.loads((metadata or {})[FEATURES])["info"]["features"]
        found = {name: feature.get("names") for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return {name: names for name, names in found.items() if isinstance(names, list) and names}


def _named(cell: object, names: Sequence[str]) -> object:
    """The name of a class number; a negative one is no class, as in the hidden test sets of `datasets`."""
    if not isinstance(cell, int) or cell >= len(names):
        return cell
    return names[cell] if cell >= 0 else None


def _read(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            return pq.read_table(file)
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_stream(source).read_all()
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}; give the path of a file", path=file, strerror=message_line(error))
        raise DataError(msg) from error
    except pa.ArrowInvalid as error:
        msg = gettext(
            "{path} is no {suffix} file ({error}); write it again", path=file, suffix=file.suffix, error=message_line(error)
        )
        raise DataError(msg) from error
