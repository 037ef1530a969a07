"""`synonym_replacement`: some words are replaced by synonyms. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.atomic_files import sha256
from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.text.augmentation.base import Draw, Editor, Resources, TextAugmentation, share
from compress.data.text.augmentation.embedding_neighbours import Lookup, of_teacher
from compress.data.text.augmentation.replacement import STOP_WORDS, TEACHER, as_written
from compress.data.text.augmentation.synonyms_file import read_synonyms
from compress.data.text.augmentation.wordnet import wordnet, wordnet_synonyms, wordnet_version
from compress.data.text.augmentation.words import Slots, Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator

WORDNET = "wordnet"
NEIGHBOURS = 5
"""Words with the nearest vectors, in place of synonyms."""


class SynonymReplacement(TextAugmentation):
    """Replace max(1, round(p · words)) random words that have synonyms (Wei & Zou 2019, arXiv:1901.11196).

    English words of grammar stay. A copy keeps its label, but with neighbours in place of synonyms, which may be opposites.

    Attributes:
        p: Fraction of the words.
        source: A file of synonyms (`.csv` with the header `word,synonyms` and lines such as `quick,fast;rapid`, or `.jsonl`);
            `wordnet`, by nltk and its data; or `teacher`, the 5 nearest words in its table of tokens. None is `wordnet` where
            it is installed, else `teacher`; a note says which.
    """

    source: str | None = None

    @property
    def resolved(self) -> str:
        """The source."""
        return self.source or (WORDNET if wordnet() is not None else TEACHER)

    @property
    def keeps_label(self) -> bool:
        """Whether the replacements are synonyms."""
        return self.resolved != TEACHER

    @property
    def uses_teacher(self) -> bool:
        """Whether it takes neighbours in the teacher's table."""
        return self.resolved == TEACHER

    def editor(self, resources: Resources) -> Editor:
        """Replacements.

        Raises:
            DataError: WordNet or a teacher is missing, or a fault of the file.
        """
        source = self.resolved
        resources.notes.append(Fact.of("data.synonyms_of", source, neighbours=NEIGHBOURS))
        lookup = self._lookup(source, resources)

        def edit(texts: Sequence[Words]) -> list[Draw]:
            found = lookup([word for words in texts for word in words.words if word.lower() not in STOP_WORDS])
            return [partial(_replace, words, found, self.p) for words in texts]

        return edit

    def file_hashes(self, base: Path) -> dict[str, object]:
        """Hash of the file, or the version of WordNet; a missing file is reported when the stage runs."""
        source = self.resolved
        if source == WORDNET:
            return {WORDNET: wordnet_version()}
        path = user_path(source, base)
        return {"synonyms": sha256(path)} if source != TEACHER and path.is_file() else {"synonyms": source}

    def _lookup(self, source: str, resources: Resources) -> Lookup:
        if source == TEACHER:
            return of_teacher(resources, NEIGHBOURS)
        if source == WORDNET:
            if wordnet() is None:
                msg = gettext(
                    "WordNet is not installed; run `pip install nltk` and `python -m nltk.downloader wordnet`, or name a file "
                    "of synonyms as `source`"
                )
                raise DataError(msg)
            return lambda words: {word: wordnet_synonyms(word.lower()) for word in words}
        synonyms = read_synonyms(user_path(source, resources.base))

        def lookup(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
            return {word: synonyms.get(word.lower(), ()) for word in words}

        return lookup


def _replace(words: Words, found: Mapping[str, Sequence[str]], p: float, rng: Generator) -> Slots:
    slots: list[str | None] = list(words.words)
    having = [index for index in words.free if found.get(words.words[index])]
    count = min(len(having), share(p, len(slots)))
    for index in sorted(having[each] for each in rng.choice(len(having), size=count, replace=False)) if having else ():
        word = words.words[index]
        slots[index] = as_written(found[word][int(rng.integers(len(found[word])))], word)
    return slots
