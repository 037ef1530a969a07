"""`ImageTextSplit`: images with captions, in batches whose captions are padded to the longest."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from compress.core.seed_of import seed_of
from compress.data.batch import Batch
from compress.data.image_split import ImageSplit
from compress.data.image_text.names import IMAGE
from compress.data.image_text.paired_split import PairedSplit, samples_of
from compress.data.stratified import Indices
from compress.data.text.ragged import Ragged
from compress.data.text.split import IDS, padded_inputs, targets_at


class ImageTextSplit(PairedSplit):
    """Pairs of an image and a caption.

    Args:
        images: The image of each pair, augmented by its views.
        tokens: Tokens of the caption of each pair.
        targets: By name, int64 (N,), or rows of different lengths, such as a token for each one.
        sentences: Tokens of further texts of each pair, by the prefix of their targets.
        texts: Captions, for messages.
    """

    def __init__(
        self,
        images: ImageSplit,
        tokens: Ragged,
        targets: Mapping[str, Tensor | Ragged],
        sentences: Mapping[str, Ragged],
        texts: Sequence[str] = (),
    ) -> None:
        super().__init__(images, {"tokens": tokens, **sentences, **targets}, texts)
        self.tokens, self.targets, self.sentences = tokens, targets, sentences

    @property
    def lengths(self) -> Tensor:
        """Tokens of the caption of each pair, int64 (N,)."""
        return self.tokens.lengths

    def sizes(self) -> Indices:
        """A checksum of the tokens and the size of the image of each pair, (N,)."""
        checksums = [zlib.crc32(self.tokens.row(index).numpy().tobytes()) for index in range(len(self))]
        return np.array(checksums, dtype=np.int64) * 2**20 + self.images.sizes() % 2**20

    def contents(self, index: int) -> bytes:
        """Hash of the image and of the tokens."""
        tokens = self.tokens.row(index).numpy().tobytes()
        return hashlib.sha256(self.images.content(index) + tokens).digest()

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches of view `number` modulo `views`; a last batch of one sample is skipped."""
        return super().epoch(number, batch_size, seed_of("pairs", seed))

    def with_texts(self, batch: Batch) -> Batch:
        """A batch of images with the tokens of their captions and the targets."""
        samples = samples_of(batch)
        targets = dict(targets_at(self.targets, samples))
        for prefix, rows in self.sentences.items():
            targets |= {f"{prefix}{name}": values for name, values in padded_inputs({IDS: rows}, samples).items()}
        return batch._replace(inputs={IMAGE: batch.input, **padded_inputs({IDS: self.tokens}, samples)}, targets=targets)
