"""Folders of images: which layout, which classes, which files. Names only, no image is opened. Light.

PATH/train/CLASS/…   PATH/val/CLASS/…   PATH/test/CLASS/…     one folder a split; val and test may be missing
PATH/CLASS/…                                                  one folder a class, split by seed
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compress.core.errors import DataError
from compress.core.fact import Fact

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
_SPLITS = ("train", "val", "test")
_LISTED = 10


@dataclass(frozen=True)
class FolderListing:
    """The image files of one folder of classes.

    Attributes:
        classes: Names of the class folders, sorted.
        files: Image files, sorted by class and name.
        labels: Position of each file's class in `classes`.
    """

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]


def find_splits(root: Path) -> dict[str, Path]:
    """Folder by split name (`train`, `val`, `test`); with one folder a class, `all` → `root`.

    Raises:
        DataError: No such folder, nothing in it, or another folder beside `train`.
    """
    if not root.is_dir():
        msg = f"no such image folder: {root}; give imagefolder:PATH with PATH/train/CLASS/*.jpg or PATH/CLASS/*.jpg"
        raise DataError(msg)
    names = [entry.name for entry in _folders(root)]
    if not names:
        msg = f"{root} holds no folders; expected PATH/train/CLASS/*.jpg or PATH/CLASS/*.jpg"
        raise DataError(msg)
    if "train" not in names:
        return {"all": root}
    others = [name for name in names if name not in _SPLITS]
    if others:
        msg = f"{root} has train/ and beside it {_some(others)}; expected only {', '.join(_SPLITS)}; rename or move the rest"
        raise DataError(msg)
    return {name: root / name for name in _SPLITS if name in names}


def list_classes(root: Path) -> tuple[FolderListing, tuple[Fact, ...]]:
    """List the images of PATH/CLASS/…, and the files that are not images by their suffix.

    Raises:
        DataError: A class has no images.
    """
    classes = tuple(folder.name for folder in _folders(root))
    files: list[Path] = []
    labels: list[int] = []
    skipped: list[Fact] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        before = len(files)
        for file in _walk(root / name):
            if file.suffix.lower() in SUFFIXES:
                files.append(file)
                labels.append(label)
            else:
                skipped.append(Fact.of("data.not_an_image_file", str(file.relative_to(root)), suffix=file.suffix))
        if len(files) == before:
            empty.append(name)
    if empty:
        msg = f"{root}: no images in class {_some(empty)}; add some ({', '.join(sorted(SUFFIXES))}) or remove the folder"
        raise DataError(msg)
    return FolderListing(classes, tuple(files), tuple(labels)), tuple(skipped)


def check_same_classes(train: FolderListing, other: FolderListing, name: str, root: Path) -> None:
    """Refuse a split whose classes are not those of the training images.

    Raises:
        DataError: Says which are missing and which are too many.
    """
    missing = [label for label in train.classes if label not in other.classes]
    extra = [label for label in other.classes if label not in train.classes]
    if missing or extra:
        said = [f"lacks {_some(missing)}"] * bool(missing) + [f"has besides {_some(extra)}"] * bool(extra)
        msg = (
            f"{root}: train has {len(train.classes)} classes and {name} {len(other.classes)}; "
            f"{name} {' and '.join(said)}; make the class folders the same"
        )
        raise DataError(msg)


def listing_hash(root: Path) -> str:
    """SHA-256 over name, size and modification time of every file under `root`.

    Raises:
        DataError: No such folder.
    """
    find_splits(root)
    digest = hashlib.sha256()
    for file in _walk(root):
        digest.update(f"{file.relative_to(root)}\0{describe(file)}\n".encode())
    return digest.hexdigest()


def describe(file: Path) -> str:
    """Size in bytes and modification time in ns."""
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        msg = f"cannot read the folder {root}: {error.strerror}"
        raise DataError(msg) from error


def _walk(root: Path) -> Iterator[Path]:
    """Every file under `root`, sorted, hidden ones left out."""
    for folder, inner, files in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(repr, names[:_LISTED])) + more
