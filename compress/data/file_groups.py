"""Groups of image files, such as cameras or places, from a table of the user, for figures of each group.

The table is a CSV file with a header and the columns `file` and `group`. `file` is a path relative to the folder of the data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from compress.core.errors import DataError, nearest
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.sources.folder_listing import printable

FILE, GROUP = "file", "group"
GROUP_SOURCES = ("imagefolder", "masks", "coco", "voc", "yolo")
"""Sources whose samples are files."""


@runtime_checkable
class NamesSamples(Protocol):
    """A split whose samples have names."""

    def names(self) -> list[str]:
        """Path of each sample's file."""


def read_groups(table: Path) -> dict[str, str]:
    """Group by path of the file, with `/` between folders.

    Args:
        table: The CSV file.

    Raises:
        DataError: It cannot be read, lacks a column, or gives a file two groups.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = gettext(
            "cannot read the groups in {path}: {error}; give a CSV file in UTF-8 with the columns {columns}",
            path=printable(table),
            error=getattr(error, "strerror", None) or error,
            columns=f"{FILE}, {GROUP}",
        )
        raise DataError(msg) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    if FILE not in names or GROUP not in names:
        msg = gettext(
            "{path} has the columns {names}; a table of groups needs {columns}",
            path=printable(table),
            names=", ".join(names) or gettext("none"),
            columns=f"{FILE}, {GROUP}",
        )
        raise DataError(msg)
    groups: dict[str, str] = {}
    for row in reader:
        file, group = Path((row[FILE] or "").strip()).as_posix(), (row[GROUP] or "").strip()
        if groups.setdefault(file, group) != group:
            msg = gettext(
                "{path} line {line}: {file} is in group {first} and in group {second}; keep one",
                path=printable(table),
                line=reader.line_num,
                file=file,
                first=groups[file],
                second=group,
            )
            raise DataError(msg)
    return groups


def groups_of_files(files: Sequence[str], root: Path, groups: Mapping[str, str], table: str) -> tuple[list[str], list[Fact]]:
    """Group of each test file, empty for one that the table does not have, and a fact if there are such files.

    Args:
        files: Paths of the test files.
        root: Folder of the data.
        groups: See `read_groups`.
        table: Name of the table, for messages.

    Raises:
        DataError: The table has none of the files.
    """
    names = [Path(file).relative_to(root).as_posix() if Path(file).is_relative_to(root) else file for file in files]
    found = [groups.get(name, "") for name in names]
    without = [name for name, group in zip(names, found, strict=True) if not group]
    if len(without) == len(names):
        msg = gettext(
            "{table} has no test file of the data; write paths relative to {root}, such as {name}: {hint}",
            table=table,
            root=printable(root),
            name=names[0],
            hint=nearest(names[0], tuple(groups)),
        )
        raise DataError(msg)
    facts = [Fact.of("data.files_without_group", without[0], files=len(without), total=len(names))] if without else []
    return found, facts
