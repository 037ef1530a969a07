"""Repeated samples, and samples that differ between passes, in loaders of the user."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from compress.core.fact import Fact
from compress.data.array_contents import checksums, content_hash
from compress.data.split_checks import repeats

if TYPE_CHECKING:
    from compress.data.dataloader_split import LoaderSplit

_MOST_VALUES = 2**28
"""Largest number of values of a dataset in memory whose contents are compared."""


def find_repeats_in_loader(split: LoaderSplit) -> tuple[Fact, ...]:
    """A fact about samples of a loader that are copies of others.

    All samples are compared where they are tensors in memory, or named twice by a `Subset` or a `ConcatDataset`; else those
    that were read for the fingerprint.

    Args:
        split: The split.
    """
    keys = _keys(split.dataset, len(split.inputs))
    copies = len(keys) - len(np.unique(keys, axis=0))
    return repeats(split.name, copies, len(keys)) or repeats(
        split.name, len(split.hashes) - len(split.probed), len(split.hashes)
    )


def find_unstable_samples(split: LoaderSplit) -> tuple[Fact, ...]:
    """A fact about a loader whose samples are others when they are read again, among those that were read.

    Transforms that draw from torch's global generator are repeatable, as it is seeded for each pass; generators of a dataset's
    own and those of numpy and Python are not.

    Args:
        split: A split that metrics are computed on.
    """
    again = [content_hash({**batch.inputs, **batch.targets}) for _, batch in split.probe_samples()]
    count = sum(first != second for first, second in zip(split.hashes, again, strict=True))
    return (Fact.of("data.samples_differ", split=split.name, count=count, samples=len(again)),) if count else ()


def _keys(dataset: Dataset[object], inputs: int) -> NDArray[np.int64]:
    """Two numbers for each sample that are equal for equal samples, (N, 2): of its dataset, and of it in this dataset."""
    if isinstance(dataset, Subset):
        return _keys(dataset.dataset, inputs)[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([_keys(part, inputs) for part in dataset.datasets])
    if isinstance(dataset, TensorDataset) and sum(values.numel() for values in dataset.tensors[:inputs]) <= _MOST_VALUES:
        sums = checksums(dataset.tensors[:inputs])
        return np.stack([np.zeros_like(sums), sums], axis=1)
    count = len(dataset) if isinstance(dataset, Sized) else 0
    return np.stack([np.full(count, id(dataset), dtype=np.int64), np.arange(count, dtype=np.int64)], axis=1)
