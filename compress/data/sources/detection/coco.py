"""`coco:PATH`: annotations in COCO's format, one JSON file, or a folder with `train.json` and maybe `val.json` and `test.json`.

Without `test.json` the final figures come from `val.json`, and the images for tuning are held out of `train.json`.

Of the file, `images` (`id`, `file_name`, `width`, `height`), `annotations` (`image_id`, `category_id`, `bbox` as x, y, width,
height) and `categories` (`id`, `name`) are read; annotations with `iscrowd` 1 are left out. An image file is looked for beside
the JSON file, in `images/` beside it, and in a folder there that is named like the file without `.json`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.detection.annotations import AnnotatedFile, Box, build_from_files
from compress.data.sources.folder_listing import printable

SPLITS = ("train", "val", "test")


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Read the annotations and split them.

    Raises:
        DataError: No such file, not JSON, not COCO, or unfit boxes or images.
    """
    path = origin.path
    files = (
        {name: path / f"{name}.json" for name in SPLITS if (path / f"{name}.json").is_file()}
        if path.is_dir()
        else {"train": path}
    )
    if "train" not in files:
        msg = gettext("{path} has no train.json; give that folder one, or write coco:FILE.json", path=printable(path))
        raise DataError(msg)
    parts = {name: read_coco(file) for name, file in files.items()}
    classes = parts["train"][1]
    for name, (_, own) in parts.items():
        if own != classes:
            differ = gettext("the categories {own}, train.json {classes}", own=", ".join(own), classes=", ".join(classes))
            msg = gettext("{files} has {differ}; make them equal", files=printable(files[name]), differ=differ)
            raise DataError(msg)
    return build_from_files({name: each for name, (each, _) in parts.items()}, classes, settings)


def read_coco(path: Path) -> tuple[tuple[AnnotatedFile, ...], tuple[str, ...]]:
    """Images with their objects, and the class names in the order of the categories' numbers.

    Raises:
        DataError: The file is missing, is not JSON, or is not COCO.
    """
    content = _read(path)
    try:
        categories = sorted((int(entry["id"]), str(entry["name"])) for entry in content["categories"])
        objects = _objects(content["annotations"], {number: index for index, (number, _) in enumerate(categories)}, path)
        images = [
            (int(entry["id"]), str(entry["file_name"]), (int(entry["width"]), int(entry["height"])))
            for entry in content["images"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = gettext(
            "{path} is not COCO: {kind} {error}; it needs images, annotations and categories",
            path=printable(path),
            kind=type(error).__name__,
            error=error,
        )
        raise DataError(msg) from error
    numbers = {number for number, _, _ in images}
    if unknown := sorted(set(objects) - numbers):
        msg = gettext(
            "{path} annotates image {unknown}, which is not among its images; add it or remove the annotation",
            path=printable(path),
            unknown=unknown[0],
        )
        raise DataError(msg)
    files = tuple(
        AnnotatedFile(
            _image_path(path, name),
            size,
            tuple(box for box, _ in objects[number]),
            tuple(label for _, label in objects[number]),
        )
        for number, name, size in images
    )
    return files, tuple(name for _, name in categories)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}", path=printable(path), strerror=error.strerror)
        raise DataError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = gettext("{path} is not JSON: {error}", path=printable(path), error=error)
        raise DataError(msg) from error
    if not isinstance(content, dict):
        msg = gettext(
            "{path} is not COCO: it holds a {kind} in place of an object", path=printable(path), kind=type(content).__name__
        )
        raise DataError(msg)
    return content


def _objects(annotations: Any, classes: dict[int, int], path: Path) -> dict[int, list[tuple[Box, int]]]:
    """Boxes and classes by image number."""
    objects: dict[int, list[tuple[Box, int]]] = defaultdict(list)
    for entry in annotations:
        if entry.get("iscrowd"):
            continue
        category = int(entry["category_id"])
        if category not in classes:
            known = ", ".join(map(str, classes)) or "none"
            msg = gettext(
                "{path} has an annotation of category {category} in image {image_id}, which is not among "
                "its categories {known}; add the category or remove the annotation",
                path=printable(path),
                category=category,
                image_id=entry["image_id"],
                known=known,
            )
            raise DataError(msg)
        x, y, width, height = _box(entry, path)
        objects[int(entry["image_id"])].append(((x, y, x + width, y + height), classes[category]))
    return objects


def _box(entry: Any, path: Path) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = map(float, entry["bbox"])
    except (TypeError, ValueError) as error:
        msg = gettext(
            "{path} has the bbox {bbox} in image {image_id}; write x, y, width, height in pixels",
            path=printable(path),
            bbox=entry["bbox"],
            image_id=entry["image_id"],
        )
        raise DataError(msg) from error
    return x, y, width, height


def _image_path(annotations: Path, name: str) -> Path:
    folders = (annotations.parent, annotations.parent / "images", annotations.with_suffix(""))
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)
