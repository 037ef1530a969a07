"""`random_swap`: two words change places, several times. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from compress.data.text.augmentation.base import Draw, Editor, Resources, TextAugmentation, share
from compress.data.text.augmentation.words import Slots, Words

if TYPE_CHECKING:
    from numpy.random import Generator


class RandomSwap(TextAugmentation):
    """Exchange two random words, max(1, round(p · words)) times (Wei & Zou 2019, arXiv:1901.11196). A copy keeps its label.

    Attributes:
        p: Number of swaps, as a fraction of the words.
    """

    moves_words: ClassVar[bool] = True

    def editor(self, resources: Resources) -> Editor:  # noqa: ARG002
        """Swaps; no errors."""

        def edit(texts: Sequence[Words]) -> list[Draw]:
            return [partial(_swap, words, self.p) for words in texts]

        return edit


def _swap(words: Words, p: float, rng: Generator) -> Slots:
    slots, free = words.words, words.free
    if len(free) < 2:
        return slots
    for _ in range(share(p, len(free))):
        first, second = (free[index] for index in rng.choice(len(free), size=2, replace=False))
        slots[first], slots[second] = slots[second], slots[first]
    return slots
