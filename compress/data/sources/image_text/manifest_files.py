"""Tables of images and captions, and the identity of their contents. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.settings import DataSettings
from compress.data.sources.text.files import NAMES

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".tab")


def manifest_files(path: Path) -> dict[str, Path]:
    """The table of each split by its name, or one table as `all`.

    Args:
        path: A table, or a folder with `train`, `validation` and `test` tables; only `train` is needed.

    Raises:
        DataError: There is none, or a split has two.
    """
    if path.is_file():
        return {"all": path}
    found: dict[str, Path] = {}
    for split, stems in NAMES.items():
        files = [file for stem in stems for suffix in SUFFIXES if (file := path / f"{stem}{suffix}").is_file()]
        if len(files) > 1:
            msg = gettext(
                "{path} has two files for one split: {files}; keep one", path=path, files=", ".join(file.name for file in files)
            )
            raise DataError(msg)
        if files:
            found[split] = files[0]
    if "train" not in found:
        msg = gettext(
            "{path} is neither a table nor a folder with train.csv or train.jsonl; give a table with the columns `image` and "
            "`caption`",
            path=path,
        )
        raise DataError(msg)
    return found


def manifest_hash(settings: DataSettings, path: Path) -> dict[str, object]:
    """Hash of each table, and name, size and modification time of the images that its rows name.

    Args:
        settings: The `data:` block.
        path: Of the source.

    Raises:
        DataError: There is no table, or it cannot be read.
    """
    parts: dict[str, object] = {}
    for table in manifest_files(path).values():
        try:
            text, digest = table.read_text(encoding=settings.encoding), sha256(table)
        except (OSError, UnicodeDecodeError, LookupError) as error:
            msg = gettext("cannot read {path}: {reason}; give a table in `encoding`", path=table, reason=error)
            raise DataError(msg) from error
        images = sorted({name for name in _names(table, text, settings.columns.image) if name})
        parts[table.name] = [digest, *(_describe(name, table.parent) for name in images)]
    return parts


def _names(table: Path, text: str, column: str) -> list[str]:
    """What the rows name as images; faulty rows, which loading refuses, are left out."""
    if table.suffix.lower() in (".csv", ".tsv", ".tab"):
        separator = "," if table.suffix.lower() == ".csv" else "\t"
        try:
            return [str(row.get(column) or "").strip() for row in csv.DictReader(io.StringIO(text), delimiter=separator)]
        except csv.Error:
            return []
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line) if line.strip() else {}
        except ValueError:
            continue
        rows.append(str(row.get(column, "")).strip() if isinstance(row, dict) else "")
    return rows


def _describe(name: str, folder: Path) -> str:
    try:
        found = user_path(name, folder).stat()
    except OSError:
        return f"{name} missing"
    return f"{name} {found.st_size} {found.st_mtime_ns}"
