"""Sentences of Python's documentation without capitals and punctuation as prompts, and the sentences as responses.

    a condition variable allows one or more threads to wait   ──►   A condition variable allows one or more threads to wait.

The task is to restore case and punctuation, as after speech recognition. The sentences are those of `python_docs`, of at most
16 words.
"""

from __future__ import annotations

from collections.abc import Iterable

from compress.data.text.table import TextTable

PROMPT, RESPONSE = "plain", "sentence"
"""Names of the columns."""
MOST_WORDS = 16


def plain_text(sentence: str) -> str:
    """A sentence in lower case, with letters, digits and single spaces alone."""
    kept = (character if character.isalnum() else " " for character in sentence.replace("'", "").lower())
    return " ".join("".join(kept).split())


def sentences_table(sentences: Iterable[str]) -> TextTable:
    """Prompts and responses; of sentences with the same letters the first one stands.

    Args:
        sentences: Whole sentences.
    """
    found: dict[str, str] = {}
    for sentence in sentences:
        if len(sentence.split()) <= MOST_WORDS and sentence.isascii():
            found.setdefault(plain_text(sentence), sentence)
    return TextTable([*found], [*found.values()], origin=[*found.values()])
