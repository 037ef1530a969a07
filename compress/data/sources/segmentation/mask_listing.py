"""Folders of images and masks: which layout, which files belong together, which classes. No image is opened. Light.

PATH/train/images/…  PATH/train/masks/…  PATH/val/…  PATH/test/…     one folder a split; val and test may be missing
PATH/images/…        PATH/masks/…                                    split by seed
PATH/classes.txt                                                     name of class 0, 1, … on a line each

A mask belongs to the image of the same path and name without suffix: `images/a/7.jpg` and `masks/a/7.png`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.data.sources.folder_listing import SUFFIXES, FileWalk, files_hash, folders_by_split, printable

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"
LAYOUT = "PATH/images and PATH/masks, or PATH/train/images, PATH/train/masks and so for val and test"
_LISTED = 5


class MaskedFile(NamedTuple):
    """An image file and its mask file."""

    image: Path
    mask: Path


Pairs = tuple[MaskedFile, ...]


def list_splits(root: Path) -> tuple[dict[str, Pairs], tuple[Fact, ...]]:
    """Pairs by split name (`train`, `val`, `test`), or `all`; and the files that are left out.

    Raises:
        DataError: Missing folder, an image without a mask, a mask without an image, or two images of one name.
    """
    if not root.is_dir():
        msg = gettext("no such folder: {root}; give masks:PATH with {layout}", root=root, layout=LAYOUT)
        raise DataError(msg)
    folders = _find_folders(root)
    files = FileWalk(root)
    splits, skipped = {}, list[Fact]()
    for name, folder in folders.items():
        splits[name], left_out = _pair(folder, files)
        skipped += left_out
    return splits, tuple(skipped)


def read_classes(root: Path) -> tuple[str, ...]:
    """Class names in the order of their numbers.

    Raises:
        DataError: No `classes.txt`, not text, or a name twice.
    """
    path = root / CLASSES
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else gettext("it is not UTF-8")
        msg = gettext(
            "cannot read {path}: {reason}; write the name of class 0, 1, … of the masks on a line each",
            path=printable(path),
            reason=reason,
        )
        raise DataError(msg) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if double := sorted({name for name in names if names.count(name) > 1}):
        msg = gettext(
            "{path} names {double} twice; give each class a name of its own",
            path=printable(path),
            double=", ".join(map(repr, double[:_LISTED])),
        )
        raise DataError(msg)
    return names


def masks_hash(root: Path) -> str:
    """SHA-256 over name, size and modification time of every file under `root`.

    Raises:
        DataError: No such folder.
    """
    if not root.is_dir():
        msg = gettext("no such folder: {root}; give masks:PATH with {layout}", root=root, layout=LAYOUT)
        raise DataError(msg)
    return files_hash(root)


def _find_folders(root: Path) -> dict[str, Path]:
    if _has_pair(root):
        return {"all": root}
    folders = folders_by_split(root, sorted(path for path in root.iterdir() if path.is_dir()), _has_pair)
    if "train" not in folders:
        msg = gettext(
            "{root} holds no {images}/ and {masks}/ beside each other; expected {layout}",
            root=printable(root),
            images=IMAGES,
            masks=MASKS,
            layout=LAYOUT,
        )
        raise DataError(msg)
    return folders


def _has_pair(folder: Path) -> bool:
    return (folder / IMAGES).is_dir() and (folder / MASKS).is_dir()


def _pair(folder: Path, files: FileWalk) -> tuple[Pairs, list[Fact]]:
    images, skipped = _by_name(folder / IMAGES, files)
    masks, also = _by_name(folder / MASKS, files)
    if alone := [name for name in images if name not in masks]:
        msg = gettext(
            "{folder}: {count} images have no mask ({images}); add a mask of the same name in {masks}/, or remove the image",
            folder=printable(folder),
            count=len(alone),
            images=_some(alone, images),
            masks=MASKS,
        )
        raise DataError(msg)
    if alone := [name for name in masks if name not in images]:
        msg = gettext(
            "{folder}: {count} masks have no image ({masks}); add the image of the same name in {images}/, or remove the mask",
            folder=printable(folder),
            count=len(alone),
            masks=_some(alone, masks),
            images=IMAGES,
        )
        raise DataError(msg)
    return tuple(MaskedFile(images[name], masks[name]) for name in sorted(images)), [*skipped, *also]


def _by_name(folder: Path, files: FileWalk) -> tuple[dict[str, Path], list[Fact]]:
    """Image files of a folder by their path in it without suffix, and what is left out."""
    paths: dict[str, Path] = {}
    skipped: list[Fact] = []
    for file, reason in files.walk(folder):
        if reason is not None:
            skipped.append(reason)
        elif file.suffix.lower() not in SUFFIXES:
            name = printable(file.relative_to(folder))
            skipped.append(Fact.of("data.not_an_image_file", name, suffix=printable(file.suffix)))
        else:
            name = printable(file.relative_to(folder).with_suffix(""))
            if name in paths:
                msg = gettext(
                    "{folder} has two files named {name!r}: {paths_name} and {file_name}; remove one",
                    folder=printable(folder),
                    name=name,
                    paths_name=paths[name].name,
                    file_name=file.name,
                )
                raise DataError(msg)
            paths[name] = file
    return paths, skipped


def _some(names: list[str], paths: Mapping[str, Path]) -> str:
    more = gettext(" and {count} more", count=len(names) - _LISTED) if len(names) > _LISTED else ""
    return ", ".join(printable(paths[name].name) for name in names[:_LISTED]) + more
