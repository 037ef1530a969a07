"""Messages in the language of the user, from gettext catalogues.

    gettext("{path} is not a file", path=path)

The English text is the key; `locale/zh/LC_MESSAGES/compress.po` has the translations, and `compress.mo` is the same compiled.
The language is that of `in_language`, or of the environment variable `COMPRESS_LANG`, which child processes inherit, or of the
recipe that runs.
A text without translation stays English, and all texts where the catalogues are absent, as in the agent on a device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import lru_cache
from gettext import NullTranslations, translation
from pathlib import Path
from typing import Literal, get_args

VARIABLE = "COMPRESS_LANG"
"""Environment variable with the language of the process."""
Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
DOMAIN, LOCALE = "compress", Path(__file__).with_name("locale")
"""Name and folder of the catalogues, as gettext calls them."""

_chosen: ContextVar[str | None] = ContextVar("language", default=None)


def language() -> str:
    """The language in use: of `in_language`, else of the environment if there is a catalogue for it, else English."""
    chosen = _chosen.get() or os.environ.get(VARIABLE, "en")
    return chosen if chosen in LANGUAGES else "en"


@contextmanager
def in_language(name: str) -> Iterator[None]:
    """Use a language inside a block, in this thread."""
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def in_language_of_recipe(name: str | None) -> Iterator[None]:
    """Use the language of a recipe inside a block, unless it has none, or a block around it or the environment names one."""
    with nullcontext() if name is None or _chosen.get() or VARIABLE in os.environ else in_language(name):
        yield


def gettext(message: str, /, **values: object) -> str:
    """A message in the language in use.

    Args:
        message: The English message, a template of `str.format` if there are values.
        values: The values of its fields.
    """
    text = _catalogue(language()).gettext(message) if message else message
    return text.format(**values) if values else text


def ngettext(singular: str, plural: str, number: int, /, **values: object) -> str:
    """A message whose form depends on a number, by the plural rule of the language.

    Args:
        singular: English template for one, such as `"{number} file"`.
        plural: English template for other numbers.
        number: The number, also the value of the field `number`.
        values: Values of further fields.
    """
    return _catalogue(language()).ngettext(singular, plural, number).format(number=number, **values)


@lru_cache
def _catalogue(name: str) -> NullTranslations:
    return NullTranslations() if name == "en" else translation(DOMAIN, LOCALE, [name], fallback=True)
