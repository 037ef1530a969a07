"""`data:` of a recipe → `Data`. Light until `load_data` is called: the method table says where each source lives."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.registry import lookup
from compress.core.trusted_code import code_hash
from compress.data.interface import Data
from compress.data.settings import DataSettings, parse_source
from compress.data.sources.distilled_metadata import distilled_file, read_metadata
from compress.data.sources.find_images import describe_files
from compress.data.sources.folder_listing import listing_hash
from compress.data.sources.npz_files import npz_files
from compress.data.sources.segmentation.mask_listing import masks_hash


def load_data(settings: DataSettings, *, base: Path, trust_code: bool = False) -> Data:
    """Read a data set and split it.

    Args:
        settings: The recipe's `data:` block.
        base: Folder that relative paths in it start from.
        trust_code: Whether a `python:` source may run.

    Raises:
        DataError: Unknown source; missing, unreadable or unfit data.
        TrustError: A `python:` source without `trust_code`.
    """
    origin = parse_source(settings.source, base, trust_code=trust_code)
    data: Data = lookup("data", origin.name).load()(settings, origin)
    return replace(data, settings=settings)


def _file_hash(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; give the path of a file"
        raise DataError(msg) from error


def data_fingerprint(settings: DataSettings, base: Path) -> dict[str, Any]:
    """What the data depends on besides the settings, as JSON. Cheap, without torch, runs no user code.

    Folders of images, with masks or without: a hash over names, sizes and modification times. `python:`: the file's SHA-256;
    what that code reads is not known. `glyphs` and `shapes_masks`: versions of the packages that bring and draw the fonts.
    `distilled`: the file's SHA-256, and the fingerprint of the data set that it was made from, whose validation and test images
    it uses.

    Raises:
        CompressError: The folder or file is missing.
    """
    origin = parse_source(settings.source, base)
    if origin.name == "imagefolder":
        return {"listing": listing_hash(origin.path)}
    if origin.name == "masks":
        return {"listing": masks_hash(origin.path)}
    if origin.name == "npz":
        return {file.name: sha256(file) for file in npz_files(origin.path) if file.is_file()}
    if origin.name == "random":
        return {"network": _file_hash(origin.path)}
    if origin.name == "images":
        return {"listing": describe_files(origin.path)}
    if origin.name == "python":
        return {"code": code_hash(origin.argument, base)}
    if origin.name == "distilled":
        behind = read_metadata(origin.path).data
        return {
            "set": sha256(distilled_file(origin.path)),
            "behind": None if behind is None else data_fingerprint(behind, base),
        }
    if origin.name in ("glyphs", "shapes_masks"):
        return {"matplotlib": version("matplotlib"), "pillow": version("pillow")}
    return {}
