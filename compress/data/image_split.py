"""`ImageSplit`: the split of every built-in image source, with a reader of raw images by index.

    reader ── uint8 (C, h, w) ──► evaluation transform or augmented view ── uint8 (C, H, W) ──► kept, if all views fit
                                                                                    └──► float32, normalised, (N, C, H, W)

Grey images are stored with one channel; normalisation repeats it if the network has three.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from compress.core.seed_of import seed_of
from compress.data.augment import Transform, seeded_transform
from compress.data.batch import UNLABELLED, Batch
from compress.data.settings import Size
from compress.data.split_checks import Comparable
from compress.data.stratified import Indices

CACHE_BYTES = 256 * 2**20
"""Largest size, in bytes, of all views together for which a split caches its transformed images."""


class Reader(Comparable, Protocol):
    """Raw images by index.

    Attributes:
        labels: Class of each, int64 (N,).
        digest: Hash of the contents.
        channels: Channels of the tensors of `read`.
    """

    @property
    def labels(self) -> Indices: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102

    def read(self, index: int) -> Tensor:
        """One image, uint8 (C, h, w)."""


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """Images in memory at their own resolution, uint8 (N, C, h, w)."""

    images: Tensor
    labels: Indices
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(np.ascontiguousarray(self.images.numpy()).data)
        digest.update(self.labels.tobytes())
        object.__setattr__(self, "digest", digest.hexdigest())

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.images.shape[1]

    def read(self, index: int) -> Tensor:
        """One image, uint8 (C, h, w)."""
        return self.images[index]

    def sizes(self) -> Indices:
        """Sum of the pixels of each image."""
        return self.images.flatten(1).sum(1, dtype=torch.int64).numpy()

    def contents(self, index: int) -> bytes:
        """Hash of the pixels."""
        return hashlib.sha256(self.images[index].numpy().tobytes()).digest()

    def name(self, index: int) -> str:
        """Number of the sample."""
        return f"number {index}"


@dataclass(frozen=True, eq=False)
class SelectedImages:
    """Some images of a reader.

    Attributes:
        reader: That has them.
        indices: Of the selected ones, int64 (M,).
    """

    reader: Reader
    indices: Indices
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.reader.digest.encode() + self.indices.tobytes()).hexdigest()
        object.__setattr__(self, "digest", digest)

    @property
    def labels(self) -> Indices:
        """Class of each."""
        return self.reader.labels[self.indices]

    @property
    def channels(self) -> int:
        """Of the tensors that `read` gives."""
        return self.reader.channels

    def read(self, index: int) -> Tensor:
        """One image, uint8 (C, h, w)."""
        return self.reader.read(int(self.indices[index]))

    def sizes(self) -> Indices:
        """See the reader."""
        return self.reader.sizes()[self.indices]

    def contents(self, index: int) -> bytes:
        """See the reader."""
        return self.reader.contents(int(self.indices[index]))

    def name(self, index: int) -> str:
        """See the reader."""
        return self.reader.name(int(self.indices[index]))


@dataclass(frozen=True)
class ImageTransforms:
    """Transforms from raw images to inputs of the network.

    Attributes:
        size: H and W.
        plain: Evaluation transform.
        augmented: Training transform, or None.
        views: Number of augmented views; 1 without augmentation.
        seed: Seed of the views.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel.
        workers: Processes that read and transform; 0 for none.
    """

    size: Size
    plain: Transform
    augmented: Transform | None
    views: int
    seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    workers: int = 0

    def identity(self) -> str:
        """Everything that the pixels depend on besides the images, as text."""
        versions = (torch.__version__, torchvision.__version__)
        return repr((self.size, self.plain, self.augmented, self.views, self.seed, self.mean, self.std, versions))


class _View(Dataset[Tensor]):
    """The samples of one view, uint8 (C, H, W); `view` None is the evaluation transform."""

    def __init__(self, reader: Reader, transforms: ImageTransforms, view: int | None) -> None:
        self.reader, self.transforms, self.view = reader, transforms, view

    def __getitem__(self, index: int) -> Tensor:
        image = self.reader.read(index)
        if self.view is None or self.transforms.augmented is None:
            return self.transforms.plain(image)
        with seeded_transform(seed_of(self.transforms.seed, index, self.view)):
            return self.transforms.augmented(image)


@dataclass
class _CachedImages:
    """Cached transformed images of a view."""

    images: Tensor
    there: Tensor


class ImageSplit:
    """A fixed list of images. See `compress.data.batch.Split` for the interface.

    Args:
        reader: Raw images and labels.
        transforms: Transforms, normalisation, loader processes.
        withheld: Samples whose label is not used, or None.
    """

    views: int | None

    def __init__(self, reader: Reader, transforms: ImageTransforms, withheld: Indices | None = None) -> None:
        self._reader, self._transforms = reader, transforms
        self._labels = torch.from_numpy(reader.labels)
        if withheld is not None:
            self._labels = self._labels.clone()
            self._labels[torch.from_numpy(withheld)] = UNLABELLED
        self._mean = torch.tensor(transforms.mean).view(1, -1, 1, 1)
        self._std = torch.tensor(transforms.std).view(1, -1, 1, 1)
        self._kept: dict[int | None, _CachedImages] = {}
        self.views = transforms.views if transforms.augmented is not None else 1
        self.contents = reader.digest
        self.fingerprint = hashlib.sha256(f"{reader.digest} {transforms.identity()}".encode()).hexdigest()
        if withheld is not None:
            self.fingerprint = hashlib.sha256(self.fingerprint.encode() + withheld.tobytes()).hexdigest()
        size = len(self) * reader.channels * math.prod(transforms.size) * (self.views + 1)
        self._keeps = size <= CACHE_BYTES

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def labels(self) -> Indices:
        """Class of each sample, int64 (N,)."""
        return self._reader.labels

    def names(self) -> list[str]:
        """Name of each sample in messages; of a file, its path."""
        return [self._reader.name(index) for index in range(len(self))]

    @property
    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the normalisation, per channel."""
        return self._transforms.mean, self._transforms.std

    def sizes(self) -> Indices:
        """See the reader."""
        return self._reader.sizes()

    def content(self, index: int) -> bytes:
        """Hash of the image of a sample, by the reader."""
        return self._reader.contents(index)

    def of_class(self, number: int) -> ImageSplit:
        """The samples of one class, whether or not their labels are withheld."""
        chosen = np.flatnonzero(self.labels == number).astype(np.int64)
        return ImageSplit(SelectedImages(self._reader, chosen), self._transforms)

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, not augmented, last batch short."""
        return self._batches(_parted(torch.arange(len(self)), batch_size), None)

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, as augmented in view `number` (modulo `views`)."""
        return self._batches(_parted(torch.arange(len(self)), batch_size), number % (self.views or 1))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches of view `number` modulo `views`; a last batch of one sample is skipped."""
        generator = torch.Generator().manual_seed(seed_of("order", seed, number))
        batches = _parted(torch.randperm(len(self), generator=generator), batch_size)
        return self._batches(batches[: self.batches(batch_size)], number % (self.views or 1))

    def _batches(self, batches: Sequence[Tensor], view: int | None) -> Iterator[Batch]:
        for samples, pixels in zip(batches, self._pixels(batches, view), strict=True):
            yield self.make_batch(samples, pixels, None if view is None else torch.full_like(samples, view))

    def make_batch(self, samples: Tensor, pixels: Tensor, views: Tensor | None) -> Batch:
        """A batch of transformed images.

        Args:
            samples: Index of each, int64 (N,).
            pixels: uint8 (N, C, H, W).
            views: View of each, int64 (N,); None for the evaluation transform.
        """
        return Batch.of(self.normalise(pixels), self._labels[samples], samples, views)

    def normalise(self, pixels: Tensor) -> Tensor:
        """`(x − mean) / std` of pixels x in [0, 1], float32."""
        return pixels.to(torch.float32).div_(255).sub(self._mean).div_(self._std)

    def _pixels(self, batches: Sequence[Tensor], view: int | None) -> Iterator[Tensor]:
        """The uint8 images of each batch, from the cache if possible."""
        cache = self._store(None if self._transforms.augmented is None else view) if self._keeps else None
        if cache is not None and all(bool(cache.there[samples].all()) for samples in batches):
            yield from (cache.images[samples] for samples in batches)
            return
        for samples, pixels in zip(batches, self._read(batches, view), strict=True):
            if cache is not None:
                cache.images[samples] = pixels
                cache.there[samples] = True
            yield pixels

    def _store(self, view: int | None) -> _CachedImages:
        if view not in self._kept:
            shape = (len(self), self._reader.channels, *self._transforms.size)
            self._kept[view] = _CachedImages(torch.empty(shape, dtype=torch.uint8), torch.zeros(len(self), dtype=torch.bool))
        return self._kept[view]

    def _read(self, batches: Sequence[Tensor], view: int | None) -> Iterable[Tensor]:
        samples = _View(self._reader, self._transforms, view)
        lists = [batch.tolist() for batch in batches]
        if self._transforms.workers == 0:
            return (torch.stack([samples[index] for index in batch]) for batch in lists)
        # with its own generator the loader does not draw its base seed from the global one
        return DataLoader(samples, batch_sampler=lists, num_workers=self._transforms.workers, generator=torch.Generator())


def _parted(samples: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    return torch.split(samples, batch_size)
