"""Paths of the user in recipes, device profiles and on the command line."""

from __future__ import annotations

import os
from pathlib import Path

from compress.core.errors import CompressError
from compress.core.language import gettext

NAME_BYTES, PATH_BYTES = 255, 4095
"""Longest name and path, in bytes, of common file systems."""


def user_path(text: str | Path, base: Path | None = None) -> Path:
    """A path with `~` expanded, relative to `base`.

    Args:
        text: As the user wrote it.
        base: Folder for a relative path; by default the working folder, with a relative result.

    Raises:
        CompressError: The path is not valid, or `~NAME` names no user.
    """
    try:
        path = Path(text).expanduser()
        encoded = os.fsencode(path)
    except (RuntimeError, UnicodeEncodeError) as error:
        reason = gettext("there is no such user")
        if isinstance(error, UnicodeEncodeError):
            reason = gettext("it has a character that no path can hold")
        raise _refused(text, reason) from error
    if b"\0" in encoded:
        raise _refused(text, gettext("it has a character that no path can hold"))
    if len(encoded) > PATH_BYTES or any(len(name) > NAME_BYTES for name in encoded.split(b"/")):
        limits = gettext("a name has at most {name} bytes, a path {path:,}", name=NAME_BYTES, path=PATH_BYTES)
        raise _refused(text, limits)
    return path if base is None else base / path


def user_cache() -> Path:
    """Folder of files that can be made again: `$COMPRESS_CACHE`, `$XDG_CACHE_HOME/compress` or `~/.cache/compress`."""
    own, shared = os.environ.get("COMPRESS_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else (Path(shared) if shared else Path.home() / ".cache") / "compress"


def _refused(text: str | Path, reason: str) -> CompressError:
    shown = ascii(str(text))
    return CompressError(
        gettext(
            "{text} cannot be a path: {reason}; use another path",
            text=shown if len(shown) <= 60 else f"{shown[:57]}…",
            reason=reason,
        )
    )
