"""Image files in a folder and its subfolders, without decoding."""

from __future__ import annotations

from pathlib import Path

from compress.core.errors import DataError
from compress.core.language import gettext

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"))
LARGEST = 10_000
"""Images at most."""


def find_images(path: Path) -> list[Path]:
    """The image, or all images in a folder and its subfolders, in order.

    Raises:
        DataError: The path is missing, or has no image.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        msg = gettext("{path} does not exist; use the path of an image or a folder with images", path=path)
        raise DataError(msg)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        msg = gettext(
            "{path} holds no image ({suffixes}); give a folder with images", path=path, suffixes=", ".join(sorted(SUFFIXES))
        )
        raise DataError(msg)
    return files[:LARGEST]


def describe_files(path: Path) -> list[str]:
    """Name, size and modification time of each image, in order.

    Raises:
        DataError: The path is missing, or has no image.
    """
    files = find_images(path)
    return [f"{file.relative_to(path.parent)} {(info := file.stat()).st_size} {info.st_mtime_ns}" for file in files]
