"""Synonyms of WordNet, by nltk, where it and its data are installed. Imports no torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def wordnet() -> Any | None:
    """Nltk's reader of WordNet; None where nltk or its data are not installed."""
    try:
        from nltk.corpus import wordnet as reader

        reader.ensure_loaded()
    except (ImportError, LookupError):
        return None
    return reader


def wordnet_version() -> str | None:
    """Version of WordNet; None where it is not installed."""
    reader = wordnet()
    return None if reader is None else str(reader.get_version())


@lru_cache(maxsize=65_536)
def wordnet_synonyms(word: str) -> tuple[str, ...]:
    """Other words of all meanings of a word, sorted, in lower case, single words alone."""
    reader = wordnet()
    meanings = [] if reader is None else reader.synsets(word)
    found = {lemma.name().replace("_", " ").lower() for meaning in meanings for lemma in meaning.lemmas()}
    return tuple(sorted(name for name in found if name != word.lower() and name.isalpha()))
