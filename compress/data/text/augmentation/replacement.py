"""The base of methods that replace words by candidates, and words that are never replaced. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from compress.core.language import gettext
from compress.data.text.augmentation.base import TextAugmentation
from compress.data.text.augmentation.words import Slots, Words

if TYPE_CHECKING:
    from numpy.random import Generator

TEACHER = "teacher"
_LIST = """
a about after all am an and any are as at be because been before being both but by can did do does down during each
few for from further had has have having he her here hers him his how i if in into is it its just me more most my no
nor not now of off on once only or other our out over own same she should so some such t than that the their them then
there these they this those through to too under until up very was we were what when where which while who whom why
will with you your
"""
STOP_WORDS = frozenset(_LIST.split())
"""English words of grammar."""


class WordReplacement(TextAugmentation):
    """A method that replaces each word with probability p by one of k candidates.

    Attributes:
        p: Probability of a word to be replaced.
        source: Where candidates are from; `teacher`, or a path.
        k: Number of candidates of a word.
        copies: Changed copies of each training text.
        stop_words: Whether English words of grammar are replaced, too.
    """

    p: float = Field(default=0.4, gt=0.0, le=1.0)
    source: str = TEACHER
    k: int = Field(default=15, ge=1, le=1000)
    copies: int = Field(default=20, ge=1, le=1000)
    stop_words: bool = False

    @property
    def keeps_label(self) -> bool:
        """It does not: a candidate may have another meaning, as `good` and `bad`."""
        return False

    @property
    def uses_teacher(self) -> bool:
        """For its candidates."""
        return self.source == TEACHER


def replace_each(words: Words, candidates: Mapping[int, Sequence[str]], p: float, rng: Generator) -> Slots:
    """Replace each word that has candidates with probability p by one of them.

    Args:
        words: The text.
        candidates: Of words, by their index.
        p: Probability.
        rng: Of the choice.
    """
    slots: list[str | None] = list(words.words)
    for index in words.free:
        drawn = rng.random()
        if (choice := candidates.get(index)) and drawn < p:
            slots[index] = as_written(choice[int(rng.integers(len(choice)))], words.words[index])
    return slots


def as_written(word: str, like: str) -> str:
    """The word with a capital where the other one begins with a capital."""
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def no_teacher() -> str:
    """Why a method without a teacher cannot work."""
    return gettext(
        "the augmentation uses the teacher, and the recipe has none; add `teacher: {source: …}`, or name a file as `source`"
    )
