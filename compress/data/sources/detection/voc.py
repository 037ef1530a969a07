"""`voc:PATH`: annotations in the format of Pascal VOC, one XML file for each image.

All XML files under PATH are read. The image, named in `filename`, is looked for beside the XML file and in `JPEGImages/` beside
its folder. Where `ImageSets/Main/train.txt` exists, it and `val.txt` and `test.txt` list the names of the files of each split;
else the splits are drawn. Without `test.txt` the final figures come from `val.txt`, and the images for tuning are held out of
`train.txt`. Class names are those that occur, sorted; with a file `classes.txt` in PATH, one name a line, other
names are refused. Objects marked `difficult` count as all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from compress.core.errors import DataError, nearest
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.detection.annotations import AnnotatedFile, Box, build_from_files
from compress.data.sources.folder_listing import printable

CORNERS = ("xmin", "ymin", "xmax", "ymax")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class VocImage:
    """One XML file.

    Attributes:
        file: The XML file.
        image: Name of the image file.
        size: (width, height), pixels.
        boxes: Corners, pixels.
        names: Class name of each.
    """

    file: Path
    image: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    names: tuple[str, ...]


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the annotations and split them.

    Raises:
        DataError: No such folder, no XML files, malformed ones, unknown classes, or unfit boxes or images.
    """
    root = origin.path
    if not root.is_dir():
        msg = gettext("no folder {root}", root=printable(root))
        raise DataError(msg)
    images = [read_voc(file) for file in sorted(root.rglob("*.xml"))]
    if not images:
        msg = gettext("{root} holds no XML files; voc:PATH reads one for each image", root=printable(root))
        raise DataError(msg)
    classes = _classes(root, images)
    splits = _splits(root, images)
    return build_from_files(
        {name: [_annotated(image, classes) for image in each] for name, each in splits.items()}, classes, settings
    )


def _classes(root: Path, images: Sequence[VocImage]) -> tuple[str, ...]:
    listed = root / "classes.txt"
    if not listed.is_file():
        return tuple(sorted({name for image in images for name in image.names}))
    classes = tuple(line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip())
    for image in images:
        for name in image.names:
            if name not in classes:
                unknown = gettext("the class {name!r}, which classes.txt does not list", name=name)
                msg = gettext(
                    "{file} names {unknown}: {hint}", file=printable(image.file), unknown=unknown, hint=nearest(name, classes)
                )
                raise DataError(msg)
    return classes


def _splits(root: Path, images: Sequence[VocImage]) -> dict[str, list[VocImage]]:
    lists = {name: root / "ImageSets" / "Main" / f"{name}.txt" for name in SPLITS}
    if not lists["train"].is_file():
        return {"train": list(images)}
    by_name = {image.file.stem: image for image in images}
    splits: dict[str, list[VocImage]] = {}
    for split, path in lists.items():
        names = (
            [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            if path.is_file()
            else []
        )
        if missing := [name for name in names if name not in by_name]:
            msg = gettext(
                "{path} lists {missing!r}, for which there is no XML file; add it or remove the line",
                path=printable(path),
                missing=missing[0],
            )
            raise DataError(msg)
        splits[split] = [by_name[name] for name in names]
    return splits


def _annotated(image: VocImage, classes: tuple[str, ...]) -> AnnotatedFile:
    folder = image.file.parent
    places = (folder / image.image, folder.parent / "JPEGImages" / image.image)
    path = next((place for place in places if place.is_file()), places[0])
    return AnnotatedFile(path, image.size, image.boxes, tuple(classes.index(name) for name in image.names))


def read_voc(path: Path) -> VocImage:
    """Read one XML file. Document types and entities are refused, so nothing outside the file is read.

    Raises:
        DataError: It cannot be read, is not XML, or not of Pascal VOC.
    """
    values, objects = _parse(path)
    try:
        size = int(values["annotation/size/width"]), int(values["annotation/size/height"])
        boxes = tuple(_box(each) for each in objects)
        names = tuple(each["name"] for each in objects)
        image = values["annotation/filename"]
    except (KeyError, ValueError) as error:
        needs = gettext("it needs filename, size and objects with name and bndbox")
        msg = gettext(
            "{path} is not of Pascal VOC: {kind} {error}; {needs}",
            path=printable(path),
            kind=type(error).__name__,
            error=error,
            needs=needs,
        )
        raise DataError(msg) from error
    return VocImage(path, Path(image).name, size, boxes, names)


def _box(texts: Mapping[str, str]) -> Box:
    """Corners x0, y0, x1, y1 of an object, pixels."""
    x0, y0, x1, y1 = (float(texts[f"bndbox/{corner}"]) for corner in CORNERS)
    return x0, y0, x1, y1


def _parse(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Texts of elements by path, and for each object texts by the path within it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}", path=printable(path), strerror=error.strerror)
        raise DataError(msg) from error
    values: dict[str, str] = {}
    objects: list[dict[str, str]] = []
    stack: list[str] = []
    texts: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:  # noqa: ARG001
        stack.append(name)
        texts.append("")
        if stack == ["annotation", "object"]:
            objects.append({})

    def text(data: str) -> None:
        texts[-1] += data

    def end(name: str) -> None:  # noqa: ARG001
        is_object = stack[:2] == ["annotation", "object"]
        key = "/".join(stack[2:] if is_object else stack)
        (objects[-1] if is_object else values).setdefault(key, texts[-1].strip())
        stack.pop()
        texts.pop()

    def refuse(*arguments: object) -> None:  # noqa: ARG001
        msg = gettext("{path} declares a document type or an entity; annotations need none: remove it", path=printable(path))
        raise DataError(msg)

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        msg = gettext("{path} is not XML: {error}", path=printable(path), error=error)
        raise DataError(msg) from error
    return values, objects
