"""Messages in the language of the user, from gettext catalogues.

    gettext("{path} is not a file", path=path)

The English text is the key; `locale/zh/LC_MESSAGES/compress.po` has the translations, and `compress.mo` is the same compiled.
The language is that of `in_language`, or of the environment variable `COMPRESS_LANG`, which child processes inherit, or of the
recipe that runs.
A text without translation stays English, and all texts where the catalogues are absent, as in the agent on a device.

A text of `gettext` knows its template and values. Records hold these, see `compress.core.text`, so that a report can be in
another language than the run.
"""

from __future__ import annotations

import os
import string
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import lru_cache
from gettext import NullTranslations, translation
from numbers import Integral, Real
from pathlib import Path
from typing import Literal, get_args

VARIABLE = "COMPRESS_LANG"
"""Environment variable with the language of the process."""
Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
MINUS = "−"
"""Sign of negative numbers."""
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


Part = str | int | float | bool | None
"""A value of a message: a number, a name, or another message."""


class Translatable(str):
    """A text that knows its template and values, so that it can be said in another language. Pickled, it is a plain text.

    Attributes:
        template: English template of `str.format`, the key of the catalogues.
        plural: English template for numbers other than one; empty for a text without such a form.
        values: Values of the fields.
    """

    template: str
    plural: str
    values: Mapping[str, Part]

    @staticmethod
    def of(text: str, template: str, values: Mapping[str, object], plural: str = "") -> Translatable:
        """The message of a text that was made of a template."""
        message = Translatable(text)
        message.template, message.plural = template, plural
        message.values = {name: _part(value) for name, value in values.items()}
        return message

    def again(self) -> str:
        """The message in the language in use, with the messages that it contains."""
        others = {name: value for name, value in self.values.items() if name != "number"}
        try:
            if self.plural:
                return ngettext(self.template, self.plural, int(self.values["number"] or 0), **others)
            return gettext(self.template, **self.values)
        except (ValueError, TypeError, LookupError, AttributeError):  # a format for an object, of which only the text is known
            return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Pickled and copied as a plain text, so that readers of checkpoints need no class of this package."""
        return str, (str(self),)

    def __deepcopy__(self, memo: object) -> Translatable:
        """The message itself: it does not change."""
        return self


def gettext(message: str, /, **values: object) -> str:
    """A message in the language in use.

    Args:
        message: The English message, a template of `str.format` if there are values; or a message, which is said again.
        values: The values of its fields; of messages their form in the language in use.
    """
    if not message:
        return message
    if isinstance(message, Translatable) and not values:
        return message.again()
    text = _catalogue(language()).gettext(message)
    return Translatable.of(_filled(text, _said(values)) if values else text, message, values)


def ngettext(singular: str, plural: str, number: int, /, **values: object) -> str:
    """A message whose form depends on a number, by the plural rule of the language.

    Args:
        singular: English template for one, such as `"{number} file"`.
        plural: English template for other numbers.
        number: The number, also the value of the field `number`.
        values: Values of further fields.
    """
    values = {"number": number, **values}
    text = _filled(_catalogue(language()).ngettext(singular, plural, number), _said(values))
    return Translatable.of(text, singular, values, plural)


def joined(parts: Iterable[str], separator: str = "; ") -> str:
    """Texts in one, which stay messages.

    Args:
        parts: The texts.
        separator: Between them.
    """
    values = {f"part{index}": part for index, part in enumerate(parts)}
    mark = {"; ": gettext("; "), ", ": gettext(", ")}.get(separator, separator)
    template = "{mark}".join(f"{{{name}}}" for name in values)
    return gettext(template, mark=mark, **values) if values else ""


def message_of(error: BaseException) -> str:
    """The text of an error, as a message where it was raised with one."""
    return error.args[0] if len(error.args) == 1 and isinstance(error.args[0], Translatable) else str(error)


def again(text: str) -> str:
    """A message in the language in use; other texts as they are."""
    return text.again() if isinstance(text, Translatable) else text


class _SignedFormatter(string.Formatter):
    """Formats a negative number of a field with a sign, such as `{change:+.1%}`, with a minus sign, not a hyphen."""

    def format_field(self, value: object, format_spec: str) -> str:
        text = str(format(value, format_spec))
        return text.replace("-", MINUS, 1) if format_spec.startswith("+") else text


def _filled(template: str, values: Mapping[str, object]) -> str:
    """A template of `str.format` with its values."""
    return _SignedFormatter().vformat(template, (), values) if ":+" in template else template.format(**values)


def _said(values: Mapping[str, object]) -> dict[str, object]:
    """The values of a message, those that are messages in the language in use."""
    return {name: value.again() if isinstance(value, Translatable) else value for name, value in values.items()}


def _part(value: object) -> Part:
    """A value as a record can hold it; of an object, which could keep others alive, its text."""
    match value:
        case Translatable() | bool() | None:
            return value
        case Integral():
            return int(value)
        case Real() if float(value) - float(value) == 0:  # finite
            return float(value)
        case BaseException():
            return message_of(value)
        case _:
            return str(value)


@lru_cache
def _catalogue(name: str) -> NullTranslations:
    return NullTranslations() if name == "en" else translation(DOMAIN, LOCALE, [name], fallback=True)
