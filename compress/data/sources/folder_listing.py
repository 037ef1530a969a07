"""Listing of folders of images: layout, classes and files, without opening an image.

PATH/train/CLASS/…   PATH/val/CLASS/…   PATH/test/CLASS/…     one folder a split; val and test may be missing
PATH/train/good/…    PATH/test/good/…   PATH/test/DEFECT/…     likewise, of one class in train: the layout of MVTec AD
PATH/CLASS/…                                                  one folder a class, split by seed
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"})
SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of the folder of each split, in any case."""
MASK_FOLDER = "ground_truth"
"""Folder beside the splits with masks of the defects, in the layout of MVTec AD (Bergmann et al. 2019); it is not read."""
_LISTED = 10


@dataclass(frozen=True)
class FolderListing:
    """The image files of one folder of classes.

    Attributes:
        classes: Names of the class folders, sorted.
        files: Image files, sorted by class and name.
        labels: Index of the class of each file.
    """

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]


def find_splits(root: Path) -> dict[str, Path]:
    """Folder by split name (`train`, `val`, `test`); `all` → `root` for one folder per class.

    Raises:
        DataError: The folder is missing or empty, or has another folder beside `train`.
    """
    if not root.is_dir():
        msg = gettext(
            "no such image folder: {root}; use imagefolder:PATH with PATH/train/CLASS/*.jpg or PATH/CLASS/*.jpg", root=root
        )
        raise DataError(msg)
    folders = _folders(root)
    if not folders:
        msg = gettext("{root} holds no folders; expected PATH/train/CLASS/*.jpg or PATH/CLASS/*.jpg", root=printable(root))
        raise DataError(msg)
    splits = folders_by_split(root, folders, lambda folder: bool(_folders(folder)))  # a class may be called train
    if "train" not in splits:
        return {"all": root}
    others = [folder.name for folder in folders if folder not in splits.values() and folder.name != MASK_FOLDER]
    if others:
        msg = gettext(
            "{root} has {name}/ and beside it {others}; expected only {split_folders}; rename or move the rest",
            root=printable(root),
            name=splits["train"].name,
            others=_some(others),
            split_folders=", ".join(SPLIT_FOLDERS),
        )
        raise DataError(msg)
    return {name: splits[name] for name in SPLIT_FOLDERS if name in splits}


def folders_by_split(root: Path, folders: Iterable[Path], is_split: Callable[[Path], bool]) -> dict[str, Path]:
    """The folders whose names are known names of splits, by split.

    Args:
        root: Folder of the data, for messages.
        folders: Folders in `root`.
        is_split: Whether a folder has the content of a split; called for folders with the name of a split.

    Raises:
        DataError: Two folders are of the same split.
    """
    splits: dict[str, Path] = {}
    for folder in folders:
        name = next((split for split, names in SPLIT_FOLDERS.items() if folder.name.lower() in names), None)
        if name is None or not is_split(folder):
            continue
        if name in splits:
            msg = gettext(
                "{root} has two folders for {name}: {splits_name} and {folder_name}; move one elsewhere",
                root=printable(root),
                name=name,
                splits_name=splits[name].name,
                folder_name=folder.name,
            )
            raise DataError(msg)
        splits[name] = folder
    return splits


def find_splits_as_classes(root: Path) -> tuple[Fact, ...]:
    """A fact if all class folders have the same two or more folders, as splits with unknown names have."""
    outer = _folders(root)
    inner = [[folder.name for folder in _folders(folder)] for folder in outer]
    if len(outer) < 2 or len(inner[0]) < 2 or any(names != inner[0] for names in inner):
        return ()
    return (Fact.of("data.classes_hold_same_folders", _some([folder.name for folder in outer]), folders=_some(inner[0])),)


def list_classes(root: Path, files: FileWalk) -> tuple[FolderListing, tuple[Fact, ...]]:
    """List the images of PATH/CLASS/…, and the skipped files.

    Args:
        root: Folder of the classes.
        files: Lists files; shared by all splits of a data set, so that no file is listed twice.

    Raises:
        DataError: A class has no images, or a name that is not UTF-8.
    """
    classes = tuple(folder.name for folder in _folders(root))
    if odd := [name for name in classes if printable(name) != name]:
        msg = gettext(
            "{root}: the name of class folder {odd} is not UTF-8; rename it", root=printable(root), odd=printable(odd[0])
        )
        raise DataError(msg)
    images: list[Path] = []
    labels: list[int] = []
    skipped: list[Fact] = []
    empty: list[str] = []
    for label, folder in enumerate(classes):
        before = len(images)
        for file, reason in files.walk(root / folder):
            if reason is not None:
                skipped.append(reason)
            elif file.suffix.lower() in SUFFIXES:
                images.append(file)
                labels.append(label)
            else:
                name = printable(file.relative_to(root))
                skipped.append(Fact.of("data.not_an_image_file", name, suffix=printable(file.suffix)))
        if len(images) == before:
            empty.append(folder)
    if empty:
        suffixes = ", ".join(sorted(SUFFIXES))
        msg = gettext(
            "{root}: no images in class {empty}; add some ({suffixes}) or remove the folder",
            root=printable(root),
            empty=_some(empty),
            suffixes=suffixes,
        )
        raise DataError(msg)
    return FolderListing(classes, tuple(images), tuple(labels)), tuple(skipped)


def find_masks(root: Path) -> tuple[Fact, ...]:
    """A fact if there is a folder of masks beside the splits."""
    return (Fact.of("data.masks_unused", MASK_FOLDER),) if (root / MASK_FOLDER).is_dir() else ()


def check_same_classes(train: FolderListing, other: FolderListing, name: str, root: Path) -> None:
    """Refuse a split whose classes are not those of the training images.

    Raises:
        DataError: The classes differ; the message lists missing and additional ones.
    """
    missing = [label for label in train.classes if label not in other.classes]
    extra = [label for label in other.classes if label not in train.classes]
    if missing or extra:
        differences = [gettext("lacks {missing}", missing=_some(missing))] * bool(missing) + [
            gettext("has besides {extra}", extra=_some(extra))
        ] * bool(extra)
        msg = gettext(
            "{root}: train has {count} classes and {name} {classes_count}; "
            "{name} {differences}; make the class folders the same",
            root=root,
            count=len(train.classes),
            name=name,
            classes_count=len(other.classes),
            differences=" and ".join(differences),
        )
        raise DataError(msg)


def listing_hash(root: Path) -> str:
    """SHA-256 over name, size and modification time of every file under `root`.

    Raises:
        DataError: No such folder.
    """
    find_splits(root)
    return files_hash(root)


def files_hash(root: Path) -> str:
    """SHA-256 over name, size and modification time of a file, or of every file under a folder.

    Raises:
        DataError: It cannot be read.
    """
    digest = hashlib.sha256()
    for file, reason in FileWalk(root).walk(root) if root.is_dir() else ((root, None),):
        if reason is None:
            digest.update(os.fsencode(file.relative_to(root)) + f"\0{describe(file)}\n".encode())
    return digest.hexdigest()


def describe(file: Path) -> str:
    """Size in bytes and modification time in ns.

    Raises:
        DataError: It cannot be read.
    """
    try:
        status = file.stat()
    except OSError as error:
        msg = gettext("cannot read {file}: {strerror}", file=printable(file), strerror=error.strerror)
        raise DataError(msg) from error
    return f"{status.st_size} {status.st_mtime_ns}"


def printable(name: str | Path) -> str:
    """A name as text, in which bytes that are not UTF-8 are escaped."""
    return str(name).encode("utf-8", "backslashreplace").decode()


class FileWalk:
    """Lists the files of a data set, each real file once, with any links.

    Args:
        top: Folder of the whole data set.
    """

    def __init__(self, top: Path) -> None:
        self.top, self._real_top = top, top.resolve()
        self._listed: set[Path] = set()

    def walk(self, folder: Path) -> Iterator[tuple[Path, Fact | None]]:
        """Every file in a folder and its subfolders, sorted, without hidden files; with a reason if it is skipped."""
        pending = [(folder, folder.resolve())]
        while pending:
            outer, real_outer = pending.pop()
            self._listed.add(real_outer)
            inner: list[tuple[Path, Path]] = []
            for entry in _entries(outer):
                path, real = outer / entry.name, real_outer / entry.name
                if entry.is_symlink():
                    try:
                        real = path.resolve(strict=True)
                    except (OSError, RuntimeError):  # its target does not exist, or is the link itself
                        yield path, Fact.of("data.broken_link", self._name(path))
                        continue
                if real != real_outer / entry.name and self._is_inside(real):
                    yield path, Fact.of("data.link_within_the_folder", self._name(path))
                elif real in self._listed:
                    yield path, Fact.of("data.same_file", self._name(path))
                elif (kind := _kind(entry)) == stat.S_IFDIR:
                    inner.append((path, real))
                elif kind == stat.S_IFREG:
                    self._listed.add(real)
                    yield path, None
                else:
                    yield path, Fact.of("data.not_a_regular_file", self._name(path))
            pending += reversed(inner)

    def _is_inside(self, real: Path) -> bool:
        """Whether a file or folder is in the data set, or contains it."""
        return real.is_relative_to(self._real_top) or self._real_top.is_relative_to(real)

    def _name(self, path: Path) -> str:
        return printable(path.relative_to(self.top))


def _kind(entry: os.DirEntry[str]) -> int:
    """File type, without a system call if the folder entry has it."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return 0


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        msg = gettext("cannot read the folder {folder}: {strerror}", folder=printable(folder), strerror=error.strerror)
        raise DataError(msg) from error


def _folders(root: Path) -> list[Path]:
    return [root / entry.name for entry in _entries(root) if _kind(entry) == stat.S_IFDIR]  # is_dir raises on a link to itself


def _some(names: list[str]) -> str:
    more = gettext(" and {count} more", count=len(names) - _LISTED) if len(names) > _LISTED else ""
    return ", ".join(repr(printable(name)) for name in names[:_LISTED]) + more
