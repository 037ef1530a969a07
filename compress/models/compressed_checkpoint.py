"""Checkpoints of sparse networks, compressed: zeros take no room on disk. Deterministic, read back without a trace on disk."""

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

SPARSE_FRACTION = 0.25
"""Fraction of zeros from which compressing is worth its time; dense float32 weights hardly shrink."""
_SUFFIX = ".gz"
_LEVEL = 6


def zero_fraction(module: nn.Module) -> float:
    """Parameters that are exactly zero, of all."""
    total = sum(parameter.numel() for parameter in module.parameters())
    return sum(int((parameter == 0).sum()) for parameter in module.parameters()) / max(total, 1)


def compress_checkpoint(path: Path) -> Path:
    """Compress a file (gzip, level 6, no time stamp) and remove it; gives the path of the compressed one."""
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
    """A path to read `path` from, whether it stands there as it is or packed.

    Raises:
        ModelError: The packed file is damaged.
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
            msg = f"{packed} is damaged ({error}); run the stage again"
            raise ModelError(msg) from error
        yield unpacked
