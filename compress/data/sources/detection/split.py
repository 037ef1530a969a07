"""`BoxSplit`: a split of images with boxes, over a reader that gives the raw image and the boxes of an index."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from compress.core.seed_of import seed_of
from compress.data.augment import EvaluationTransform, seeded_transform
from compress.data.batch import Batch
from compress.data.detection_targets import pad_objects
from compress.data.image_split import CACHE_BYTES
from compress.data.settings import Size
from compress.data.sources.detection.augment import BoxAugmentation, Sample
from compress.data.split_checks import Comparable


class BoxReader(Comparable, Protocol):
    """Raw images with boxes by index.

    Attributes:
        digest: Hash of the contents.
        channels: Of the images.
        most_boxes: Largest number of boxes in an image.
    """

    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def most_boxes(self) -> int: ...  # noqa: D102
    def __len__(self) -> int: ...

    def read(self, index: int) -> Sample:
        """Image uint8 (C, h, w), boxes (m, 4) in its pixels, classes int64 (m,)."""


@dataclass(frozen=True)
class BoxTransforms:
    """Transforms from raw images to inputs of the network.

    Attributes:
        size: H and W; images are scaled to it whatever their aspect ratio, and boxes with them.
        augmented: Training transform, or None.
        views: Number of augmented views.
        seed: Seed of the views.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel.
        workers: Processes that read and transform; 0 for none.
    """

    size: Size
    augmented: BoxAugmentation | None
    views: int
    seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    workers: int = 0


class _BoxView(Dataset[Sample]):
    """The samples of a view at the input size of the network; `view` None is not augmented."""

    def __init__(self, reader: BoxReader, transforms: BoxTransforms, view: int | None) -> None:
        self.reader, self.transforms, self.view = reader, transforms, view

    def __getitem__(self, index: int) -> Sample:
        sample = self.reader.read(index)
        if self.view is not None and self.transforms.augmented is not None:
            with seeded_transform(seed_of(self.transforms.seed, index, self.view)):
                sample = self.transforms.augmented(*sample)
        return resize(*sample, self.transforms.size)


def resize(image: Tensor, boxes: Tensor, classes: Tensor, size: Size) -> Sample:
    """Scale an image to H × W pixels as `infer.py` does, and its boxes with it."""
    height, width = image.shape[1:]
    scale = boxes.new_tensor((size[1] / width, size[0] / height)).repeat(2)
    return EvaluationTransform(size)(image), boxes * scale, classes


class BoxSplit:
    """A fixed list of images with boxes. See `compress.data.batch.Split` for the interface.

    Args:
        reader: Raw images and boxes.
        transforms: Transforms, normalisation, loader processes.
    """

    views: int | None

    def __init__(self, reader: BoxReader, transforms: BoxTransforms) -> None:
        self._reader, self._transforms = reader, transforms
        self._mean = torch.tensor(transforms.mean).view(1, -1, 1, 1)
        self._std = torch.tensor(transforms.std).view(1, -1, 1, 1)
        self.views = 1 if transforms.augmented is None else transforms.views
        self.fingerprint = hashlib.sha256(f"{reader.digest} {transforms}".encode()).hexdigest()
        self._cache: dict[tuple[int, int | None], Sample] = {}
        self._keeps = len(self) * reader.channels * math.prod(transforms.size) * (self.views + 1) <= CACHE_BYTES

    def __len__(self) -> int:
        return len(self._reader)

    def names(self) -> list[str]:
        """Name of each sample in messages; of a file, its path."""
        return [self._reader.name(index) for index in range(len(self))]

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, not augmented, last batch short."""
        return self._batches(torch.split(torch.arange(len(self)), batch_size), None)

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, as augmented in view `number` (modulo `views`)."""
        return self._batches(torch.split(torch.arange(len(self)), batch_size), number % (self.views or 1))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches of view `number` modulo `views`; a last batch of one sample is skipped."""
        generator = torch.Generator().manual_seed(seed_of("order", seed, number))
        batches = torch.split(torch.randperm(len(self), generator=generator), batch_size)
        return self._batches(batches[: self.batches(batch_size)], number % (self.views or 1))

    def _batches(self, batches: Sequence[Tensor], view: int | None) -> Iterator[Batch]:
        for indices, samples in zip(batches, self._samples(batches, view), strict=True):
            pixels = torch.stack([image for image, _, _ in samples]).to(torch.float32)
            inputs = pixels.div_(255).sub(self._mean).div_(self._std)
            targets = pad_objects([(boxes, classes) for _, boxes, classes in samples], max(1, self._reader.most_boxes))
            views = None if view is None else torch.full_like(indices, view)
            yield Batch({"input": inputs}, targets, indices, views)

    def _samples(self, batches: Sequence[Tensor], view: int | None) -> Iterable[Sequence[Sample]]:
        source = _BoxView(self._reader, self._transforms, view)
        lists = [batch.tolist() for batch in batches]
        if self._transforms.workers and not self._keeps:
            # with its own generator the loader does not draw its base seed from the global one
            workers, generator = self._transforms.workers, torch.Generator()
            return DataLoader(source, batch_sampler=lists, num_workers=workers, generator=generator, collate_fn=list)
        return ([self._sample(source, index, view) for index in batch] for batch in lists)

    def _sample(self, source: _BoxView, index: int, view: int | None) -> Sample:
        if not self._keeps:
            return source[index]
        key = (index, None if self._transforms.augmented is None else view)
        if key not in self._cache:
            self._cache[key] = source[index]
        return self._cache[key]
