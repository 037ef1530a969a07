"""`data:` of a recipe → `Data`. Sources are imported on use, by the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.core.trusted_code import code_hash
from compress.core.user_path import user_path
from compress.data.audio.fingerprint import audio_fingerprint
from compress.data.file_groups import GROUP_SOURCES, NamesSamples, groups_of_files, read_groups
from compress.data.interface import Data
from compress.data.misplaced_fields import misplaced_message
from compress.data.settings import DataSettings, DataSource, parse_source
from compress.data.sources.distilled_metadata import distilled_file, read_metadata
from compress.data.sources.find_images import describe_files
from compress.data.sources.folder_listing import SUFFIXES, describe, files_hash, listing_hash
from compress.data.sources.image_text.manifest_files import manifest_hash
from compress.data.sources.npz_files import npz_files
from compress.data.sources.segmentation.mask_listing import masks_hash
from compress.data.text.fingerprint import text_fingerprint

WITHHOLDS_LABELS = (
    "digits",
    "glyphs",
    "cifar10",
    "cifar100",
    "imagefolder",
    "masks",
    "shapes_masks",
    "csv",
    "jsonl",
    "parquet",
    "hf_dataset",
    "python_docs",
    "audio_manifest",
    "spoken_digits_synthetic",
)
"""Sources that know `labelled`."""
KINDS = {"text": text_fingerprint, "image_text": text_fingerprint, "audio": audio_fingerprint}
"""Identity of the data of sources of one kind."""


TABLES_OF_IMAGES: Mapping[str, Callable[[DataSettings, DataSource], object]] = {
    "masks": lambda _, origin: masks_hash(origin.path),
    "image_lines": lambda settings, origin: manifest_hash(settings, origin.path),
}
"""Contents of sources of images that have something beside each image."""


def load_data(settings: DataSettings, *, base: Path, trust_code: bool = False) -> Data:
    """Read a data set and split it.

    Args:
        settings: The `data:` block of the recipe.
        base: Folder for its relative paths.
        trust_code: Whether a `python:` source may run.

    Raises:
        DataError: The source is unknown, or the data are missing, unreadable or not suitable.
        TrustError: A `python:` source without `trust_code`.
    """
    origin = parse_source(settings.source, base, trust_code=trust_code)
    if settings.labelled is not None and origin.name not in (*WITHHOLDS_LABELS, "distilled"):
        listed = ", ".join(WITHHOLDS_LABELS)
        msg = gettext(
            "{source} keeps all its labels; leave `labelled` out, or use one of the sources that know it: {listed}",
            source=settings.source,
            listed=listed,
        )
        raise DataError(msg)
    for field in settings.misplaced:
        raise DataError(misplaced_message(settings, field))
    if settings.groups is not None and origin.name not in GROUP_SOURCES:
        raise DataError(_groups_message(settings.source))
    data: Data = lookup("data", origin.name).load()(settings, origin)
    if settings.groups is not None:
        data = _with_groups(data, settings.groups, origin)
    return replace(data, settings=settings)


def _groups_message(source: str) -> str:
    return gettext(
        "{source} has no image files that a table of groups could name; leave `groups` out, or use one of the sources that "
        "have: {listed} (texts: columns: {{group: NAME}}; npz: an array groups)",
        source=source,
        listed=", ".join(GROUP_SOURCES),
    )


def _with_groups(data: Data, table: str, origin: DataSource) -> Data:
    """The data with the groups of its test files, and a warning for files without one."""
    root = origin.path if origin.path.is_dir() else origin.path.parent
    names = data.test.names() if isinstance(data.test, NamesSamples) else []
    groups, facts = groups_of_files(names, root, read_groups(user_path(table, origin.base)), table)
    return replace(data, groups=groups, warnings=(*data.warnings, *facts))


def is_known(settings: DataSettings) -> bool:
    """Whether `data_fingerprint` shows which samples a source gives: not for user code and tokenizers trained anew.

    Args:
        settings: The `data:` block.
    """
    return not settings.source.startswith("python:") and getattr(settings.tokenizer, "train", "") != "unigram"


def _file_hash(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}; give the path of a file", path=path, strerror=error.strerror)
        raise DataError(msg) from error


def _images_beside(path: Path) -> dict[str, object]:
    """The same for the images that a JSON file of COCO names, of the folders that are searched for them."""
    if not path.is_file():
        return {}
    folders = (path.parent / "images", path.with_suffix(""))
    beside = [f"{file.name} {describe(file)}" for file in sorted(path.parent.iterdir()) if file.suffix.lower() in SUFFIXES]
    return {"images": [*beside, *(files_hash(folder) for folder in folders if folder.is_dir())]}


def data_fingerprint(settings: DataSettings, base: Path) -> dict[str, object]:
    """Inputs of the data besides the settings, as JSON. It is fast, without torch and user code.

    Folders of images, with masks, boxes or without: a hash over names, sizes and modification times. `python:`: the file's
    SHA-256; files that the code reads are unknown. Drawn data: versions of the packages that bring and draw the fonts.
    `distilled`: the file's SHA-256, and the fingerprint of the data set that it was made from, whose validation and test images
    it uses.

    Raises:
        CompressError: The folder or file is missing.
    """
    own = {} if settings.groups is None else {"groups": _file_hash(user_path(settings.groups, base))}
    return _fingerprint_of_source(settings, base) | own


def _fingerprint_of_source(settings: DataSettings, base: Path) -> dict[str, object]:
    origin = parse_source(settings.source, base)
    if origin.name == "imagefolder":
        return {"listing": listing_hash(origin.path)}
    if origin.name in TABLES_OF_IMAGES:
        return {"listing": TABLES_OF_IMAGES[origin.name](settings, origin)}
    if origin.name == "npz":
        return {file.name: sha256(file) for file in npz_files(origin.path) if file.is_file()}
    if origin.name == "random":
        return {"network": _file_hash(origin.path)}
    if origin.name == "images":
        return {"listing": describe_files(origin.path)}
    if origin.name == "python":
        return {"code": code_hash(origin.argument, base)}
    if (of_kind := KINDS.get(settings.kind)) is not None:
        return of_kind(settings, origin)
    if origin.name == "distilled":
        behind = read_metadata(origin.path).data
        return {
            "set": sha256(distilled_file(origin.path)),
            "behind": None if behind is None else data_fingerprint(behind, base),
        }
    if origin.name in ("coco", "voc", "yolo"):
        return {"listing": files_hash(origin.path)} | _images_beside(origin.path)
    drawn = ("drawn_lines", "glyphs", "shapes_masks", "drawn_boxes")
    return {"matplotlib": version("matplotlib"), "pillow": version("pillow")} if origin.name in drawn else {}
