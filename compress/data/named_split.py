"""Splits of named tensors, in memory or generated sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compress.data.batch import Batch, Tensors
from compress.data.stratified import Indices

_CHUNK = 256

ReadSamples = Callable[[Tensor], tuple[Tensors, Tensors]]
"""Inputs and targets of samples by their indices, int64 (N,)."""


@dataclass(eq=False)
class NamedSplit:
    """A fixed list of samples of any inputs, not augmented. See `compress.data.batch.Split` for the interface.

    Attributes:
        samples: Index of each sample in the source, int64 (N,).
        read: (indices) → inputs and targets.
        fingerprint: Hash of the contents.
        views: 1, since there is no augmentation.
    """

    samples: Tensor
    read: ReadSamples
    fingerprint: str
    views: int | None = 1

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def labels(self) -> Indices | None:
        """Class of each sample, int64 (N,), negative without a label; None where targets are no class numbers."""
        first = list(self.read(self.samples[:1])[1].values())
        if len(first) != 1 or first[0].ndim != 1 or first[0].is_floating_point():
            return None
        return np.concatenate([batch.target.numpy().astype(np.int64) for batch in self.ordered(_CHUNK)])

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, last batch short."""
        yield from self._batches(torch.split(torch.arange(len(self)), batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002  # there is one view
        """The same as `ordered`."""
        yield from self.ordered(batch_size)

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches; a rest of one sample is left out."""
        digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        parts = torch.split(torch.randperm(len(self), generator=generator), batch_size)
        yield from self._batches(parts[: self.batches(batch_size)])

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def _batches(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        for rows in parts:
            inputs, targets = self.read(self.samples[rows])
            yield Batch(inputs, targets, rows, torch.zeros_like(rows))


def read_rows(inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> ReadSamples:
    """Samples of arrays in memory, each (N, …)."""

    def read(rows: Tensor) -> tuple[Tensors, Tensors]:
        first, second = ({name: values[rows] for name, values in each.items()} for each in (inputs, targets))
        return first, second

    return read


def split_indices(count: int, validation: float, test: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A seeded partition into training, validation and test, each with at least one sample if there are three.

    Args:
        count: N.
        validation: Fraction of validation samples.
        test: Fraction of test samples.
        seed: Of the choice.

    Returns:
        Sorted indices; with fewer than three samples each part has all of them.
    """
    every = torch.arange(count)
    if count < 3:
        return every, every, every
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    tests, validations = (max(1, round(count * fraction)) for fraction in (test, validation))
    tests = min(tests, count - 2)
    validations = min(validations, count - tests - 1)
    first, second, third = torch.split(order, [count - tests - validations, validations, tests])
    return first.sort().values, second.sort().values, third.sort().values
