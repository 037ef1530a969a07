"""Sentences with names of splits, in the language in use."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentence

SPLITS = {"training": "training", "validation": "validation", "test": "test"}
"""Words of the splits."""


def of_splits(template: str) -> Sentence:
    """A sentence whose subject or values may be names of splits."""

    def sentence(fact: Fact) -> str:
        values = {"subject": fact.subject, **fact.values}
        words = {name: gettext(SPLITS[value]) for name, value in values.items() if isinstance(value, str) and value in SPLITS}
        return gettext(template, **(values | words))

    return sentence
