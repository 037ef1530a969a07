"""`LineSplit`: images of lines of text, in batches whose targets are padded to the longest text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from compress.data.batch import TARGET, Batch
from compress.data.image_split import ImageSplit
from compress.data.stratified import Indices
from compress.data.text.ragged import Ragged


class LineSplit:
    """Images with the classes of their characters. See `compress.data.batch.Split` for the interface.

    Args:
        images: The image of each line, augmented by its views.
        characters: Classes of the characters of each text.
        texts: Texts, for messages.

    Attributes:
        views: Of the images.
    """

    views: int | None

    def __init__(self, images: ImageSplit, characters: Ragged, texts: Sequence[str] = ()) -> None:
        self.images, self.characters, self.texts = images, characters, texts
        self.views = images.views
        digest = hashlib.sha256(images.fingerprint.encode())
        for tensor in (characters.values, characters.offsets):
            digest.update(tensor.contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.characters)

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
        return map(self._with_texts, self.images.ordered(batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every sample once, in order, as in view `number` (modulo `views`)."""
        return map(self._with_texts, self.images.view(number, batch_size))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches of view `number` modulo `views`; a last batch of one sample is skipped."""
        return map(self._with_texts, self.images.epoch(number, batch_size, seed))

    def _with_texts(self, batch: Batch) -> Batch:
        samples = batch.samples
        assert samples is not None  # noqa: S101  # an image split numbers its samples
        return batch._replace(targets={TARGET: self.characters.padded(samples)})
