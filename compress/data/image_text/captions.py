"""`Captions`: images with a caption each, before texts are encoded. An image may stand in several pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compress.data.stratified import Indices, balanced_subset, divide_splits, stratified_hold_out


@dataclass(frozen=True, eq=False)
class Captions:
    """N pairs of an image and a caption.

    Attributes:
        image: Number of the image of each pair among those of the source, int64 (N,).
        texts: The captions, (N,).
        classes: Name of the class of each image, (N,); empty for none.
        members: Group of each pair, for figures of each group; empty for none.
        prompts: Question on the image that each text answers, (N,); empty for captions.
    """

    image: Indices
    texts: Sequence[str]
    classes: Sequence[str] = ()
    members: Sequence[str] = ()
    prompts: Sequence[str] = ()

    def __len__(self) -> int:
        """N."""
        return len(self.texts)

    def select(self, rows: Indices) -> Captions:
        """These pairs."""
        chosen = rows.tolist()
        texts, classes, members, prompts = (
            [values[row] for row in chosen] if values else ()
            for values in (self.texts, self.classes, self.members, self.prompts)
        )
        return Captions(self.image[rows], texts, classes, members, prompts)

    def as_answers(self) -> Captions:
        """The same pairs whose classes are questions, and whose texts are the answers."""
        return Captions(self.image, self.texts, (), self.members, self.classes)

    @property
    def labels(self) -> Indices:
        """A number for the class of each pair, 0 without classes, (N,)."""
        if not self.classes:
            return np.zeros(len(self), np.int64)
        return np.unique(np.asarray(self.classes), return_inverse=True)[1].ravel().astype(np.int64)


def divide(splits: Mapping[str, Captions], *, validation: float, test: float, seed: int) -> tuple[Captions, Captions, Captions]:
    """Pairs for training, validation and test; missing splits are held out by image, so that no image is in two of them.

    Args:
        splits: Pairs of `train`, `val` and `test`, or of `all`.
        validation: Fraction of the images to hold out for validation.
        test: Fraction of the images to hold out for the test.
        seed: Of the choice.
    """

    def hold_out(pairs: Captions, fraction: float) -> tuple[Captions, Captions]:
        images, first = np.unique(pairs.image, return_index=True)
        _, held = stratified_hold_out(pairs.labels[first], fraction, seed)
        is_held = np.isin(pairs.image, images[held])
        return pairs.select(np.flatnonzero(~is_held)), pairs.select(np.flatnonzero(is_held))

    return divide_splits(splits, hold_out, validation=validation, test=test)


def limited(pairs: Captions, limit: int | None, seed: int) -> Captions:
    """At most `limit` pairs, balanced by class."""
    return pairs if limit is None or limit >= len(pairs) else pairs.select(balanced_subset(pairs.labels, limit, seed))
