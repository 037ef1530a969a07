"""`LineSplit`: images of lines of text, in batches whose targets are padded to the longest text."""

from __future__ import annotations

from collections.abc import Sequence

from compress.data.batch import TARGET, Batch
from compress.data.image_split import ImageSplit
from compress.data.image_text.paired_split import PairedSplit, samples_of
from compress.data.text.ragged import Ragged


class LineSplit(PairedSplit):
    """Images with the classes of their characters.

    Args:
        images: The image of each line, augmented by its views.
        characters: Classes of the characters of each text.
        texts: Texts, for messages.
    """

    def __init__(self, images: ImageSplit, characters: Ragged, texts: Sequence[str] = ()) -> None:
        super().__init__(images, {TARGET: characters}, texts)
        self.characters = characters

    def with_texts(self, batch: Batch) -> Batch:
        """A batch of images with the classes of their characters."""
        return batch._replace(targets={TARGET: self.characters.padded(samples_of(batch))})
