"""Read a file as text; a fault of its encoding is told with its line. Imports no torch."""

from __future__ import annotations

import codecs
from pathlib import Path

from compress.core.errors import DataError
from compress.core.language import gettext

OTHERS = ("utf-8", "utf-16", "gb18030", "cp1252")
"""Encodings that are proposed where a file has another than that of the recipe, in this order."""


def read_text(path: Path, encoding: str) -> str:
    """The contents of a file, without a byte order mark.

    Args:
        path: The file.
        encoding: Of its characters, such as `utf-8` or `gb18030`.

    Raises:
        DataError: The file cannot be read, the encoding is unknown, or the file has another one.
    """
    try:
        codec = codecs.lookup(encoding).name
    except LookupError as error:
        msg = gettext("unknown encoding {encoding!r}; use one that Python knows, such as utf-8 or gb18030", encoding=encoding)
        raise DataError(msg) from error
    try:
        contents = path.read_bytes()
    except OSError as error:
        msg = gettext("cannot read {path}: {strerror}; give the path of a file", path=path, strerror=error.strerror)
        raise DataError(msg) from error
    try:
        return contents.decode("utf-8-sig" if codec == "utf-8" else codec)
    except UnicodeDecodeError as error:
        line = contents[: error.start].count(b"\n") + 1
        fitting = [other for other in OTHERS if other != codec and _is(contents, other)]
        msg = gettext(
            "{path} line {line}: byte {byte:#04x} is not {encoding}; save the file as UTF-8, or set data.encoding{hint}",
            path=path,
            line=line,
            byte=contents[error.start],
            encoding=encoding,
            hint=gettext(" (the whole file can be read as {fitting})", fitting=", ".join(fitting)) if fitting else "",
        )
        raise DataError(msg) from error


def _is(contents: bytes, encoding: str) -> bool:
    if encoding == "utf-16" and not contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    try:
        contents.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
