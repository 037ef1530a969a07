"""The images of a distilled set as a split: exact float pixels, views by differentiable augmentation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from compress.core.seed_of import seed_of
from compress.data.batch import Batch
from compress.data.differentiable_augment import PROBABILITIES, differentiable_augment
from compress.data.stratified import Indices


def contents_hash(images: Tensor, *beside: Tensor) -> str:
    """Hash of the images and their classes, without augmentation; and of further values."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for tensor in (images, *beside):
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class DistilledSplit:
    """Images in memory. See `compress.data.batch.Split` for the interface.

    Args:
        images: Float32 (N, C, H, W), normalised.
        targets: Int64 (N,).
        soft: Probabilities (N, K).
        operations: Operations of `compress.data.differentiable_augment`; empty for no augmentation.
        views: Number of augmented views of a sample.
        seed: Seed of the views.

    Attributes:
        contents: Hash of the images and targets.
        soft: The soft labels, for the teacher `distilled`.
    """

    views: int | None

    def __init__(
        self, images: Tensor, targets: Tensor, soft: Tensor, *, operations: Sequence[str], views: int, seed: int
    ) -> None:
        self._images, self._targets, self.soft = images, targets, soft
        self._operations, self._seed = tuple(operations), seed
        self.views = views if operations else 1
        self.contents = contents_hash(images, targets)
        transforms = repr((self._operations, self.views, seed, torch.__version__))
        self.fingerprint = hashlib.sha256(f"{self.contents} {transforms}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def labels(self) -> Indices:
        """Class of each sample, int64 (N,)."""
        return self._targets.numpy()

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, not augmented, last batch short."""
        return (self._batch(samples, None) for samples in torch.split(torch.arange(len(self)), batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, as augmented in view `number` (modulo `views`)."""
        return (
            self._batch(samples, number % (self.views or 1)) for samples in torch.split(torch.arange(len(self)), batch_size)
        )

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches of view `number` modulo `views`; a last batch of one sample is skipped."""
        generator = torch.Generator().manual_seed(seed_of("order", seed, number))
        batches = torch.split(torch.randperm(len(self), generator=generator), batch_size)
        return (self._batch(samples, number % (self.views or 1)) for samples in batches[: self.batches(batch_size)])

    def _batch(self, samples: Tensor, view: int | None) -> Batch:
        images = self._images[samples]
        if view is None:
            return Batch.of(images, self._targets[samples], samples)
        if self._operations:
            chance = torch.stack([self._chance(index, view) for index in samples.tolist()])
            images = differentiable_augment(images, self._operations, chance)
        return Batch.of(images, self._targets[samples], samples, torch.full_like(samples, view))

    def _chance(self, index: int, view: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(self._seed, index, view))
        return torch.rand(PROBABILITIES, generator=generator)
