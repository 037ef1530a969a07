"""`embedding_neighbours`: words are replaced by words with near vectors. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.user_path import user_path
from compress.data.text.augmentation.base import Draw, Editor, Resources
from compress.data.text.augmentation.replacement import STOP_WORDS, TEACHER, WordReplacement, no_teacher, replace_each
from compress.data.text.augmentation.words import Words

Lookup = Callable[[Iterable[str]], Mapping[str, Sequence[str]]]
"""Candidates of words."""


class EmbeddingNeighbours(WordReplacement):
    """Replace each word with probability p by one of the k words with the nearest vectors by cosine.

    A copy has no label of its own: the teacher answers it. Source: Jiao et al. 2020, TinyBERT, arXiv:1909.10351, appendix A.

    Attributes:
        p: Probability of a word to be replaced.
        source: `teacher`, its table of tokens, where the vector of a word of several tokens is their mean; or a text file with
            a word and its numbers in each line, as of GloVe.
        k: Number of candidates of a word.
        copies: Changed copies of each training text.
        stop_words: Whether English words of grammar are replaced, too.
    """

    def editor(self, resources: Resources) -> Editor:
        """Replacements.

        Raises:
            DataError: There is no teacher, it has no table for the tokens of the data, or a fault of the file.
        """
        lookup = of_file(self.source, self.k, resources.base) if self.source != TEACHER else of_teacher(resources, self.k)
        return replacing(lookup, self.p, stop_words=self.stop_words)

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hash of the file of vectors; a missing file is reported when the stage runs."""
        path = user_path(self.source, base)
        return {"vectors": sha256(path)} if not self.uses_teacher and path.is_file() else {}


def of_teacher(resources: Resources, k: int) -> Lookup:
    """Neighbours in the teacher's table of tokens.

    Raises:
        DataError: There is no teacher, or it has no table for the tokens of the data.
    """
    from compress.data.text.augmentation.token_vectors import TokenNeighbours, token_table

    if resources.teacher is None:
        raise DataError(no_teacher())
    table = token_table(resources.teacher, resources.tokenizer.vocabulary)
    return TokenNeighbours(resources.tokenizer, table, k).of


def of_file(source: str, k: int, base: Path) -> Lookup:
    """Neighbours among the words of a file; a word that it lacks has none. Errors as for `read_vectors`."""
    from compress.data.text.augmentation.token_vectors import Neighbours
    from compress.data.text.augmentation.vector_file import read_vectors

    words, vectors = read_vectors(user_path(source, base))
    rows = {word: row for row, word in enumerate(words)}
    letters = [row for row, word in enumerate(words) if word.isalpha()]
    nearest = Neighbours([words[row] for row in letters], vectors[letters], k)
    known: dict[str, tuple[str, ...]] = {}

    def lookup(wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
        for word in set(wanted) - set(known):
            row = rows.get(word, rows.get(word.lower()))
            known[word] = () if row is None else nearest.of(word, vectors[row])
        return {word: known[word] for word in wanted}

    return lookup


def replacing(lookup: Lookup, p: float, *, stop_words: bool) -> Editor:
    """Replace each word with probability p by one of its candidates.

    Args:
        lookup: Candidates of words.
        p: Probability.
        stop_words: Whether words of grammar are replaced, too.
    """

    def edit(texts: Sequence[Words]) -> list[Draw]:
        found = lookup([word for words in texts for word in words.words if stop_words or word.lower() not in STOP_WORDS])
        return [
            partial(replace_each, words, {index: found[word] for index, word in enumerate(words.words) if word in found}, p)
            for words in texts
        ]

    return edit
