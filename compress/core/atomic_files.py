"""Atomic writing of files, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.core.errors import StoreError
from compress.core.language import gettext

DISK_ERRORS = frozenset(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR, errno.EEXIST)
)
"""Error numbers of a path that cannot be written to."""
PROBE_BYTES = 1 << 16


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path in the same folder to write to; it is synced and renamed to `path` on success, and removed on failure.

    Raises:
        StoreError: The folder is not writable, or full.
    """
    aside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        aside = Path(name)
        aside.chmod(0o644)
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise _named(error, path) from error
    except Exception as error:
        if aside is not None and (disk_error := _cannot_grow(aside)):
            raise _named(disk_error, path) from error
        raise
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


@contextmanager
def name_disk_errors(folder: Path) -> Iterator[None]:
    """Turn the error of a full or unwritable disk, of any library, into a `StoreError` with advice."""
    try:
        yield
    except OSError as error:
        raise _named(error, folder) from error
    except Exception as error:
        if "No space left on device" in str(error) or "File too large" in str(error):
            raise _named(OSError(errno.ENOSPC, "no space left on device"), folder) from error
        raise


def _cannot_grow(path: Path) -> OSError | None:
    """Why a file cannot grow, or None. Libraries report a full disk by errors of their own with different texts."""
    try:
        with path.open("ab") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def _named(error: OSError, path: Path) -> Exception:
    if error.errno not in DISK_ERRORS:
        return error
    return StoreError(
        gettext(
            "cannot write {path}: {strerror}; free some space or choose another folder with --out",
            path=path,
            strerror=error.strerror,
        )
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, contents: bytes) -> None:
    """Write bytes, never a part of them."""
    with atomic_write(path) as aside:
        aside.write_bytes(contents)


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path, and rename the file atomically."""
    with atomic_write(path) as aside:
        write(aside)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
