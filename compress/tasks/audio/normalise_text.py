"""Forms of a text in which spellings of the same words are equal, for error rates of networks that write cased text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal

from compress.core.errors import MissingPackageError
from compress.core.language import gettext

TextForm = Literal["none", "basic", "english"]
APOSTROPHE = "\N{REPLACEMENT CHARACTER}"
"""Stands for an apostrophe in a word."""


def normaliser(form: TextForm) -> Callable[[str], str]:
    """The function that gives a text its form.

    Args:
        form: `none` as it is; `basic` lower case without punctuation, but with apostrophes in words; `english` also spells
            numbers, contractions and titles alike, as Whisper's own normaliser (Radford et al. 2022, arXiv:2212.04356).

    Raises:
        MissingPackageError: `english`, and transformers is not installed.
    """
    if form == "none":
        return lambda text: " ".join(text.split())
    if form == "basic":
        return basic_form
    try:
        from transformers.models.whisper.english_normalizer import EnglishTextNormalizer
    except ImportError as error:
        raise MissingPackageError("transformers", "hf", gettext("the English form of texts")) from error
    english: Callable[[str], str] = EnglishTextNormalizer({})
    return english


def basic_form(text: str) -> str:
    """Lower case without punctuation, with single spaces."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    plain = re.sub(r"(?<=\w)'(?=\w)", APOSTROPHE, plain)
    kept = (each if each.isalnum() or each == APOSTROPHE or unicodedata.category(each)[0] == "M" else " " for each in plain)
    return " ".join("".join(kept).replace(APOSTROPHE, "'").split())
