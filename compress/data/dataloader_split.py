"""A DataLoader of the user as a split: its sampling, transforms and workers are used as they are."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from compress.core.errors import DataError
from compress.core.object_fingerprint import fingerprint_object
from compress.data.augment import seed_of, seeded_transform
from compress.data.batch import Batch

_PROBED = 32


class LoaderSplit:
    """One loader as a split. See `compress.data.batch.Split` for the interface.

    `fingerprint` covers the loader's length, the attributes and code of its dataset and collate function, and up to 32 of its
    samples. Changes of other files that the dataset reads are not seen.
    """

    views: int | None = None

    def __init__(self, loader: DataLoader[Any], name: str, classes: int) -> None:
        self.name, self._loader, self._classes = name, loader, classes
        if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
            msg = f"the {name} loader cannot be read by index; give it a dataset with __len__ and __getitem__, and a batch size"
            raise DataError(msg)
        self._steps, self._size = len(loader), len(loader.dataset)  # type: ignore[arg-type]
        if self._steps == 0 or self._size == 0:
            msg = f"the {name} loader gives no batches"
            raise DataError(msg)
        self.shape, self.fingerprint = self._probe()

    def __len__(self) -> int:
        return self._size

    def batches(self, batch_size: int) -> int:  # noqa: ARG002
        """How many batches the loader gives, less a last one of a single sample."""
        own = self._loader.batch_size
        if own is None or own == 1 or self._loader.drop_last:
            return self._steps
        return self._steps - (len(self._loader.sampler) % own == 1)  # type: ignore[arg-type]

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample of the dataset once, in order; transforms of the dataset itself stay as they are."""
        loader = self._loader
        plain: DataLoader[Any] = DataLoader(
            loader.dataset,
            batch_size,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
            generator=torch.Generator(),
        )
        start = 0
        for batch in _in_own_randomness(plain, seed_of("ordered")):
            inputs, targets = self._check(batch)
            yield Batch(inputs, targets, torch.arange(start, start + len(targets)))
            start += len(targets)

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """As `ordered`: views cannot be told apart."""
        return self.ordered(batch_size)

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """The loader's own batches."""
        batches = _in_own_randomness(self._loader, seed_of("epoch", seed, number))
        for batch in itertools.islice(batches, self.batches(batch_size)):
            yield Batch(*self._check(batch))

    def _check(self, batch: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
            msg = f"the {self.name} loader yields {type(batch).__name__}; expected (inputs, targets), two tensors"
            raise DataError(msg)
        inputs, targets = batch
        if inputs.ndim != 4 or not inputs.is_floating_point():
            description = f"{inputs.dtype} {tuple(inputs.shape)}"
            msg = f"the {self.name} loader's inputs are {description}; expected float (N, C, H, W), normalised"
            raise DataError(msg)
        if targets.ndim != 1 or targets.is_floating_point():
            msg = f"the {self.name} loader's targets are {targets.dtype} {tuple(targets.shape)}; expected integer (N,)"
            raise DataError(msg)
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= self._classes:
            msg = f"the {self.name} loader's targets run from {low} to {high}, but there are {self._classes} classes (from 0)"
            raise DataError(msg)
        return inputs.to(torch.float32), targets.to(torch.int64)

    def _probe(self) -> tuple[tuple[int, ...], str]:
        """Shape of a sample, and the fingerprint."""
        shape: tuple[int, ...] = ()
        code = fingerprint_object((self._loader.dataset, self._loader.collate_fn)).sha256
        digest = hashlib.sha256(f"{code} {self._size} {self._steps} {self._classes}".encode())
        with seeded_transform(seed_of("probe")):
            for index in torch.linspace(0, self._size - 1, min(self._size, _PROBED)).round().int().tolist():
                inputs, targets = self._check(self._loader.collate_fn([self._loader.dataset[index]]))
                shape = tuple(inputs.shape[1:])
                digest.update(inputs.contiguous().numpy().data)
                digest.update(str(targets.tolist()).encode())
        return shape, digest.hexdigest()


def _in_own_randomness(loader: Iterable[Any], seed: int) -> Iterator[Any]:
    """Iterate with torch's global generator started from `seed`, as seen by the loader only."""
    with seeded_transform(seed):
        batches = iter(loader)
        state = torch.get_rng_state()
    end = object()
    while True:
        with seeded_transform(0):
            torch.set_rng_state(state)
            batch = next(batches, end)
            state = torch.get_rng_state()
        if batch is end:
            return
        yield batch
