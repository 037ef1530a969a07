"""References to networks: assistants and peers. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

SOURCE_KINDS = ("torchvision", "timm", "python")


def check_reference(source: str) -> str:
    """The source itself, if it names a network that can be built with random weights."""
    kind, _, name = source.partition(":")
    if kind not in SOURCE_KINDS or not name or (kind == "python" and not all(name.rpartition(":")[::2])):
        msg = f"{source!r} names no network; write torchvision:NAME, timm:NAME or python:FILE.py:FUNCTION"
        raise ValueError(msg)
    return source


def code_hashes(sources: Sequence[str], base: Path) -> dict[str, str]:
    """Hashes of the Python files among these sources and of what they import.

    Raises:
        CompressError: One is missing.
    """
    from compress.core.trusted_code import code_hash

    files = {source: source.removeprefix("python:") for source in sources if source.startswith("python:")}
    return {source: code_hash(reference, base) for source, reference in files.items()}


NetworkReference = Annotated[str, AfterValidator(check_reference)]
