"""`PairedSplit`: images with something else for each, in batches; the base class of images with texts."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from compress.data.batch import Batch
from compress.data.image_split import ImageSplit
from compress.data.stratified import Indices
from compress.data.text.ragged import Ragged


class PairedSplit(ABC):
    """Images with the rows of a subclass. See `compress.data.batch.Split` for the interface.

    Args:
        images: The image of each sample, augmented by its views.
        rows: All that belongs to the images, by name, for the fingerprint.
        texts: Text of each image, for messages.

    Attributes:
        views: Of the images.
    """

    views: int | None

    def __init__(self, images: ImageSplit, rows: Mapping[str, Tensor | Ragged], texts: Sequence[str]) -> None:
        self.images, self.texts = images, texts
        self.views = images.views
        digest = hashlib.sha256(images.fingerprint.encode())
        for name, values in rows.items():
            for tensor in (values.values, values.offsets) if isinstance(values, Ragged) else (values,):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    @abstractmethod
    def with_texts(self, batch: Batch) -> Batch:
        """A batch of images with what belongs to them."""

    def __len__(self) -> int:
        return len(self.images)

    def sizes(self) -> Indices:
        """See the images."""
        return self.images.sizes()

    def contents(self, index: int) -> bytes:
        """Hash of the image."""
        return self.images.content(index)

    def name(self, index: int) -> str:
        """The image and its text."""
        return f"{self.images.names()[index]}: {self.texts[index]}" if len(self.texts) else self.images.names()[index]

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        return self.images.batches(batch_size)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, not augmented, last batch short."""
        return map(self.with_texts, self.images.ordered(batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, as in view `number` (modulo `views`)."""
        return map(self.with_texts, self.images.view(number, batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches of view `number` modulo `views`; a last batch of one sample is skipped."""
        return map(self.with_texts, self.images.epoch(number, batch_size, seed))


def samples_of(batch: Batch) -> Tensor:
    """Numbers of the samples of a batch of images, int64 (N,)."""
    assert batch.samples is not None  # noqa: S101  # an image split numbers its samples
    return batch.samples
