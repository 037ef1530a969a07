"""Comparison of samples in memory by their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from compress.data.batch import Tensors

_CHUNK = 1024


def checksums(arrays: Iterable[Tensor]) -> NDArray[np.int64]:
    """A checksum of each sample, equal for equal samples and almost always different for others, (N,).

    Args:
        arrays: Of the same samples, each (N, …).
    """
    generator = np.random.default_rng(0)
    total: NDArray[np.uint64] | None = None
    for values in arrays:
        rows = values.contiguous().numpy().reshape(len(values), -1)
        rows = np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")
        weights = generator.integers(1, 2**63, rows.shape[1], dtype=np.uint64) | np.uint64(1)
        sums = [(rows[start : start + _CHUNK] * weights).sum(1, dtype=np.uint64) for start in range(0, len(rows), _CHUNK)]
        column = np.concatenate(sums)
        total = column if total is None else total + column
    assert total is not None  # noqa: S101  samples have inputs
    return total.view(np.int64)


def content_hash(sample: Tensors) -> bytes:
    """Hash of one sample, or of one batch.

    Args:
        sample: Its tensors by name.
    """
    digest = hashlib.sha256()
    for values in sample.values():
        digest.update(values.contiguous().numpy().tobytes())
    return digest.digest()
