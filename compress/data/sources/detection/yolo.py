"""`yolo:PATH`: text labels as Darknet and Ultralytics write them.

    PATH/images/…/NAME.jpg   PATH/labels/…/NAME.txt   PATH/classes.txt, or `names:` in PATH/data.yaml

Each line of a label file is `class x y width height`: the number of the class, centre and size as fractions of the image. An
image without a label file has no objects. Where `images/train` exists, it and `images/val` and `images/test` are the splits;
else they are drawn. Without `images/test` the final figures come from `images/val`, and the images for tuning are held out of
`images/train`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.detection.annotations import AnnotatedFile, Box, build_from_files
from compress.data.sources.folder_listing import SUFFIXES, printable

SPLITS = ("train", "val", "test")


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the labels and split the images.

    Raises:
        DataError: A folder or the class names are missing, label files are malformed, or boxes or images unfit.
    """
    root = origin.path
    images = root / "images"
    if not images.is_dir():
        msg = gettext("{root} has no folder images/; yolo:PATH reads PATH/images/ and PATH/labels/", root=printable(root))
        raise DataError(msg)
    classes = read_classes(root)
    folders = {name: images / name for name in SPLITS if (images / name).is_dir()}
    if "train" not in folders:
        folders = {"train": images}
    parts = {name: [_annotated(file, root, len(classes)) for file in _files(folder)] for name, folder in folders.items()}
    _refuse_orphans(root)
    return build_from_files(parts, classes, settings)


def read_classes(root: Path) -> tuple[str, ...]:
    """Class names of `classes.txt`, or of `names:` in `data.yaml`, a list or a mapping from numbers.

    Raises:
        DataError: Neither file names classes.
    """
    listed, described = root / "classes.txt", root / "data.yaml"
    names: object = ()
    try:
        if listed.is_file():
            names = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        elif described.is_file():
            content = YAML(typ="safe", pure=True).load(described.read_text(encoding="utf-8"))
            names = content.get("names") if isinstance(content, dict) else None
    except (OSError, ValueError, YAMLError) as error:
        msg = gettext("cannot read the class names of {root}: {error}", root=printable(root), error=error)
        raise DataError(msg) from error
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            msg = gettext(
                "names in {described} has the numbers {names}; write 0 to {count}",
                described=printable(described),
                names=sorted(names),
                count=len(names) - 1,
            )
            raise DataError(msg)
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        msg = gettext(
            "{root} names no classes; add classes.txt, one name a line, or data.yaml with names", root=printable(root)
        )
        raise DataError(msg)
    return tuple(map(str, names))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


def _label_path(image: Path, root: Path) -> Path:
    return (root / "labels" / image.relative_to(root / "images")).with_suffix(".txt")


def _refuse_orphans(root: Path) -> None:
    images = {_label_path(file, root) for file in _files(root / "images")}
    orphans = [
        label for label in sorted((root / "labels").rglob("*.txt")) if label not in images and label.name != "classes.txt"
    ]
    if orphans:
        msg = gettext(
            "{count} label files have no image ({orphans} is one); add the images or remove the labels",
            count=len(orphans),
            orphans=printable(orphans[0]),
        )
        raise DataError(msg)


def _annotated(image: Path, root: Path, classes: int) -> AnnotatedFile:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(image) as opened:
            width, height = opened.size
            if opened.getexif().get(0x0112, 1) > 4:  # the sides are swapped where it is made upright
                width, height = height, width
    except Exception as error:  # what Pillow raises for a damaged file depends on its format
        msg = gettext("cannot decode {image}: {error}; replace or remove it", image=printable(image), error=error)
        raise DataError(msg) from error
    label = _label_path(image, root)
    lines = label.read_text(encoding="utf-8", errors="replace").splitlines() if label.is_file() else []
    objects = [
        _object(line, (width, height), classes, gettext("{label}, line {number}", label=printable(label), number=number))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    return AnnotatedFile(image, (width, height), tuple(box for box, _ in objects), tuple(number for _, number in objects))


def _object(line: str, size: tuple[int, int], classes: int, where: str) -> tuple[Box, int]:
    parts = line.split()
    try:
        if len(parts) != 5:
            raise ValueError
        number, (x, y, width, height) = int(parts[0]), map(float, parts[1:])
    except ValueError as error:
        msg = gettext(
            "{where} is {line!r}; write: class x y width height, as fractions of the image", where=where, line=line.strip()[:80]
        )
        raise DataError(msg) from error
    if not 0 <= number < classes:
        msg = gettext(
            "{where} names class {number}, and there are classes 0 to {classes}; add its name or correct the line",
            where=where,
            number=number,
            classes=classes - 1,
        )
        raise DataError(msg)
    left, top = (x - width / 2) * size[0], (y - height / 2) * size[1]
    return (left, top, left + width * size[0], top + height * size[1]), number
