"""Rows of tables of images and texts → pairs, with the checks of both."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.image_text.build import ImageReaders
from compress.data.image_text.captions import Captions
from compress.data.settings import DataSettings
from compress.data.sources.find_images import SUFFIXES
from compress.data.sources.folder_listing import printable
from compress.data.sources.image_text.manifest_files import manifest_files
from compress.data.sources.imagefolder import ImageFiles, check_files, frames_skipped, imagenet_moments
from compress.data.sources.text.csv_table import read_csv
from compress.data.sources.text.jsonl import read_jsonl
from compress.data.sources.text.rows import TableExample
from compress.data.stratified import Indices
from compress.data.text.settings import Columns
from compress.data.text.table import TextTable

NAMED = 10
"""Rows that a message names at most."""
READERS = {".csv": read_csv, ".tsv": read_csv, ".tab": read_csv}


class Manifest(NamedTuple):
    """Pairs of an image and a text from tables.

    Attributes:
        splits: Pairs of `train`, `val` and `test`, or of `all`.
        files: Images, by their numbers.
        facts: About pairs and images.
    """

    splits: Mapping[str, Captions]
    files: Sequence[Path]
    facts: tuple[Fact, ...]

    def readers(self, channels: int) -> ImageReaders:
        """How the images are read, normalised by ImageNet's mean and standard deviation.

        Args:
            channels: 3 or 1.
        """

        def read(images: Indices) -> ImageFiles:
            chosen = tuple(self.files[number] for number in images)
            return ImageFiles(chosen, np.zeros(len(chosen), np.int64), channels)

        return ImageReaders(read, lambda _: imagenet_moments(channels), "center_crop")


def read_manifest(path: Path, settings: DataSettings, columns: Columns, example: TableExample) -> Manifest:
    """Read the tables and check all images.

    Args:
        path: Of the source.
        settings: The `data:` block.
        columns: Of the table; `image` and `caption` name both.
        example: Of such a table, for messages.

    Raises:
        DataError: No table, a row without image or text, an image that is missing or cannot be decoded.
    """
    plain = settings.model_copy(update={"columns": _as_texts(columns)})
    numbers: dict[Path, int] = {}
    splits: dict[str, Captions] = {}
    facts: list[Fact] = []
    for split, file in manifest_files(path).items():
        table = READERS.get(file.suffix.lower(), read_jsonl)(file, plain, example)
        _check_rows(table, file)
        splits[split] = _captions(table, file, numbers)
        facts += _right_to_left(table)
    files = tuple(numbers)
    check_files(files)
    return Manifest(splits, files, (*facts, *_without_text(files), *frames_skipped(files)))


def _as_texts(columns: Columns) -> Columns:
    """The columns of a table of texts: the caption, the path of the image as second text, and the class as target."""
    target = {} if columns.target == Columns().target else {"target": columns.target}
    names = {"text": columns.caption, "text_pair": columns.image, "group": columns.group, "targets": "classes"}
    return Columns.model_validate({**names, **target})


def _captions(table: TextTable, path: Path, numbers: dict[Path, int]) -> Captions:
    """The pairs of a table; images that are new get the next number."""
    image = [numbers.setdefault(user_path(name.strip(), path.parent).absolute(), len(numbers)) for name in table.pairs or ()]
    classes = ["" if each is None else str(each) for each in table.targets or ()]
    return Captions(np.array(image, dtype=np.int64), table.texts, classes, table.members)


def _check_rows(table: TextTable, path: Path) -> None:
    """Refuse rows without image or text, and images that are not there.

    Raises:
        DataError: There are such rows; the message names the place and the file of each.
    """
    faults = []
    for row, (text, image) in enumerate(zip(table.texts, table.pairs or (), strict=True)):
        if not image.strip():
            faults.append(gettext("{place}: the text {text!r} has no image", place=table.name(row), text=text[:60]))
        elif not text.strip():
            faults.append(gettext("{place}: {image} has no text", place=table.name(row), image=image))
        elif not user_path(image.strip(), path.parent).is_file():
            faults.append(gettext("{place}: there is no file {image}", place=table.name(row), image=image))
    if faults:
        more = [gettext("and {count} more", count=len(faults) - NAMED)] if len(faults) > NAMED else []
        msg = gettext(
            "{path}: {count} of {rows} rows are no pairs of an image and a text; complete or remove them (paths start from "
            "{folder}):\n{listed}",
            path=path,
            count=len(faults),
            rows=len(table),
            folder=path.parent,
            listed="\n".join(f"  {fault}" for fault in [*faults[:NAMED], *more]),
        )
        raise DataError(msg)


def _without_text(files: Sequence[Path]) -> tuple[Fact, ...]:
    """A fact about images beside the named ones that no row names."""
    named = set(files)
    beside = (file for folder in sorted({file.parent for file in files}) for file in sorted(folder.iterdir()))
    unused = [file for file in beside if file.suffix.lower() in SUFFIXES and file not in named]
    return (Fact.of("data.images_without_caption", printable(unused[0]), count=len(unused)),) if unused else ()


def _right_to_left(table: TextTable) -> tuple[Fact, ...]:
    """A fact about captions that are read from right to left, whose tokens are in the order of reading."""
    rows = [row for row, text in enumerate(table.texts) if _is_right_to_left(text)]
    example = f"{table.name(rows[0])}, {(table.pairs or ())[rows[0]]}" if rows else ""
    return (Fact.of("data.captions_right_to_left", example, count=len(rows), texts=len(table)),) if rows else ()


def _is_right_to_left(text: str) -> bool:
    """Whether the first letter with a direction is of a script such as Arabic or Hebrew (Unicode UAX 9, rule P2)."""
    directions: Mapping[str, bool] = {"L": False, "R": True, "AL": True}
    first = (directions[kind] for kind in map(unicodedata.bidirectional, text) if kind in directions)
    return next(first, False)
