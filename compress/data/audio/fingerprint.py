"""Identity of audio data: its files, or the versions that draw it. Imports no torch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from compress.data.settings import DataSettings, DataSource
from compress.data.sources.folder_listing import files_hash

DRAWN = ("spoken_digits_synthetic",)
"""Sources without files."""


def audio_fingerprint(settings: DataSettings, origin: DataSource) -> dict[str, object]:  # noqa: ARG001  # as text_fingerprint
    """Names, sizes and modification times of all files beside the manifest, as JSON; files elsewhere are known by their path.

    Args:
        settings: The `data:` block.
        origin: The source.

    Raises:
        DataError: The folder cannot be read.
    """
    if origin.name in DRAWN:
        return {"numpy": version("numpy")}
    folder = origin.path if origin.path.is_dir() else origin.path.parent
    return {"listing": files_hash(folder), "soundfile": _version("soundfile")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
