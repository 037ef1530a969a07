"""`text:PATH`: texts without targets, one in each line, of a file or of the `.txt` files of a folder, for unlabelled training.

A folder with `train.txt` (and `validation.txt`, `test.txt`) is read as these splits. Empty lines are passed over.
"""

from __future__ import annotations

from pathlib import Path

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.text.files import split_files, text_files
from compress.data.sources.text.read_lines import read_text
from compress.data.text.build import build_text_data
from compress.data.text.table import TextTable


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the lines and split them.

    Raises:
        DataError: Missing files, another encoding, no text.
        MissingPackageError: tokenizers is not installed.
    """
    path = origin.path
    has_splits = path.is_dir() and (path / "train.txt").is_file()
    files = {split: [file] for split, file in split_files(path, "text").items()} if has_splits else {"all": text_files(path)}
    tables = {split: read_texts(parts, settings.encoding) for split, parts in files.items()}
    return build_text_data(tables, settings, origin)


def read_texts(files: list[Path], encoding: str) -> TextTable:
    """The lines of files that hold a text.

    Raises:
        DataError: As for `load`.
    """
    texts, origin = [], []
    for file in files:
        for number, line in enumerate(read_text(file, encoding).split("\n"), start=1):
            if text := line.strip():
                texts.append(text)
                origin.append(f"{file.name} line {number}")
    if not texts:
        msg = gettext("{path} has no text; give a file with a text in each line", path=files[0])
        raise DataError(msg)
    return TextTable(texts, origin=origin)
