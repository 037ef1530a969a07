"""`random_deletion`: each word is removed with a probability. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from compress.data.text.augmentation.base import Draw, Editor, Resources, TextAugmentation
from compress.data.text.augmentation.words import Slots, Words

if TYPE_CHECKING:
    from numpy.random import Generator


class RandomDeletion(TextAugmentation):
    """Remove each word with probability p; one that is drawn stays where all would go (Wei & Zou 2019, arXiv:1901.11196).

    A copy keeps its label. Words of named entities stay.

    Attributes:
        p: Probability of a word to be removed.
    """

    def editor(self, resources: Resources) -> Editor:  # noqa: ARG002
        """Removals; no errors."""

        def edit(texts: Sequence[Words]) -> list[Draw]:
            return [partial(_delete, words, self.p) for words in texts]

        return edit


def _delete(words: Words, p: float, rng: Generator) -> Slots:
    slots: list[str | None] = list(words.words)
    removed = [index for index, draw in zip(words.free, rng.random(len(words.free)), strict=True) if draw < p]
    if removed and len(removed) == len(slots):
        removed.pop(int(rng.integers(len(removed))))
    for index in removed:
        slots[index] = None
    return slots
