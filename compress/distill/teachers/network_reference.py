"""References to networks: assistants and peers. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from compress.core.language import gettext

SOURCE_KINDS = ("torchvision", "timm", "python")


def check_reference(source: str) -> str:
    """The source itself, if it names a network that can be built with random weights."""
    kind, _, name = source.partition(":")
    if kind not in SOURCE_KINDS or not name or (kind == "python" and not all(name.rpartition(":")[::2])):
        msg = gettext(
            "{source!r} names no network; write torchvision:NAME, timm:NAME or python:FILE.py:FUNCTION", source=source
        )
        raise ValueError(msg)
    return source


NetworkReference = Annotated[str, AfterValidator(check_reference)]
