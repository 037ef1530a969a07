"""Checksums of a folder in a file `SHA256SUMS`, in the format of `sha256sum -c`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from compress.core.atomic_files import sha256, write_text
from compress.core.errors import StoreError
from compress.core.language import gettext

CHECKSUMS = "SHA256SUMS"


def write_checksums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write `SHA256SUMS`.

    Args:
        folder: Folder of the files.
        sums: Hex SHA-256 by POSIX path relative to the folder.

    Raises:
        StoreError: A name cannot be listed, or the folder is not writable.
    """
    for name in sums:
        if not is_inside(name):
            msg = gettext(
                "{folder}: {name!a} cannot be listed in {checksums}; use files inside this folder with printable names",
                folder=folder,
                name=name,
                checksums=CHECKSUMS,
            )
            raise StoreError(msg)
    write_text(folder / CHECKSUMS, _text(sums))


def _text(sums: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def hash_files(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Hex SHA-256 of files in a folder, by POSIX path relative to it."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def read_checksums(folder: Path) -> dict[str, str]:
    """Hex SHA-256 by POSIX path relative to the folder.

    Raises:
        ValueError: `SHA256SUMS` is missing or cannot be read.
    """
    try:
        text = (folder / CHECKSUMS).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        msg = gettext("{checksums} cannot be read", checksums=CHECKSUMS)
        raise ValueError(msg) from error
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
    if not sums or not all(map(is_inside, sums)) or {*map(len, sums.values())} != {64} or _text(sums) != text:
        msg = gettext("{checksums} is damaged", checksums=CHECKSUMS)
        raise ValueError(msg)
    return sums


def changed_files(folder: Path) -> tuple[str, ...]:
    """Files that are missing or have another checksum; only `SHA256SUMS` if it cannot be read."""
    try:
        sums = read_checksums(folder)
    except ValueError:
        return (CHECKSUMS,)
    return tuple(name for name, digest in sums.items() if not has_checksum(folder / name, digest))


def has_checksum(path: Path, digest: str) -> bool:
    """Whether a regular file has this SHA-256."""
    try:
        return path.is_file() and not path.is_symlink() and sha256(path) == digest
    except OSError:
        return False


def is_inside(name: str) -> bool:
    """Whether a relative path is inside its folder, and fits on one line of `SHA256SUMS`."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and name.isprintable() and "\\" not in name
