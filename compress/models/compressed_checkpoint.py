"""Compressed checkpoints of sparse networks. Compression is deterministic; reading leaves no file on disk."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from compress.core.atomic_files import atomic_write
from compress.core.errors import ModelError
from compress.core.language import gettext

SPARSE_FRACTION = 0.25
"""Smallest fraction of zeros for compression; dense float32 weights hardly shrink."""
_SUFFIX = ".gz"
_LEVEL = 6


def zero_fraction(module: nn.Module) -> float:
    """Fraction of parameters that are exactly zero."""
    total = sum(parameter.numel() for parameter in module.parameters())
    return sum(int((parameter == 0).sum()) for parameter in module.parameters()) / max(total, 1)


def compress_checkpoint(path: Path) -> Path:
    """Compress a file (gzip, level 6, no time stamp) and remove it; returns the path of the compressed file."""
    packed = path.with_name(path.name + _SUFFIX)
    with (
        atomic_write(packed) as aside,
        path.open("rb") as source,
        aside.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw, mtime=0) as target,
    ):
        shutil.copyfileobj(source, target, 1 << 20)
    path.unlink()
    return packed


@contextmanager
def decompressed(path: Path) -> Iterator[Path]:
    """A path with the content of `path`, which may be compressed.

    Raises:
        ModelError: The compressed file is damaged.
    """
    packed = path.with_name(path.name + _SUFFIX)
    if path.exists() or not packed.exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / path.name
        try:
            with gzip.open(packed) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (OSError, EOFError) as error:
            msg = gettext("{packed} is damaged ({error}); run the stage again", packed=packed, error=error)
            raise ModelError(msg) from error
        yield unpacked
