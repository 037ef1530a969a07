"""The type of a text in a record: a message stays one, in the record with its template and values.

So `compress report` can give a run in another language, and runs in two languages have the same record:

    {"message": "{runtime} on {machine}", "values": {"runtime": "onnxruntime 1.20", "machine": "Cortex-A76"}}
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from compress.core.language import Translatable, gettext

_FIELD_FORMAT = re.compile(r"[<>^]?[+]?#?\d{0,2},?(\.\d{1,2})?[a-z%]?")
"""Formats of fields in a record; it could have been written by others, and ask for a text of any length."""
_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "description": "A message: an English template of Python's str.format, and the values of its fields.",
            "properties": {
                "message": {"type": "string", "description": "The template; with `plural`, the one for the number 1."},
                "plural": {"type": "string", "description": "The template for other values of the field `number`."},
                "values": {"type": "object", "description": "Numbers, names, and messages, by field."},
            },
            "required": ["message"],
            "additionalProperties": False,
        },
    ]
}


def _read(value: object, read_text: ValidatorFunctionWrapHandler) -> str:
    if isinstance(value, Translatable):
        return value
    if isinstance(value, Mapping) and "message" in value:
        return _message(value)
    return str(read_text(value))


def _message(stored: Mapping[str, object]) -> str:
    """A message in the language in use, from its form in a record."""
    template, plural, values = stored["message"], stored.get("plural", ""), stored.get("values", {})
    if not isinstance(template, str) or not isinstance(plural, str) or not isinstance(values, Mapping):
        raise ValueError(gettext("a message has a template and values"))
    read = {str(name): _message(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    if not (_is_said_again(template, read) and _is_said_again(plural, read)):
        raise ValueError(gettext("the values of the message {template!r:.80} do not fit its fields", template=template))
    return Translatable.of("", template, read, plural).again()


def _is_said_again(template: str, values: Mapping[str, object]) -> bool:
    """Whether the values in a record suffice for a template."""
    try:
        fields = [(name, form) for _, name, form, _ in string.Formatter().parse(template) if name is not None] if values else []
    except ValueError:
        return False
    return all(name in values and _FIELD_FORMAT.fullmatch(form or "") for name, form in fields)


def _write(text: str) -> str | dict[str, object]:
    if not isinstance(text, Translatable) or not _is_said_again(text.template, text.values):
        return text
    values = {name: _write(value) if isinstance(value, str) else value for name, value in text.values.items()}
    plural = {"plural": text.plural} if text.plural else {}
    return {"message": text.template, **plural, **({"values": values} if values else {})}


Text = Annotated[str, WrapValidator(_read), PlainSerializer(_write), WithJsonSchema(_SCHEMA)]
"""A text of a record."""


def _read_texts(value: object) -> object:
    match value:
        case Mapping() if "message" in value and value.keys() <= {"message", "plural", "values"}:
            return _message(value)
        case Mapping():
            return {name: _read_texts(item) for name, item in value.items()}
        case list() | tuple():
            return [_read_texts(item) for item in value]
        case _:
            return value


def readable(value: object) -> object:
    """Plain JSON of records with a sentence in the language in use in place of each stored message, for output to people."""
    return _read_texts(value)


def _write_texts(value: object) -> object:
    match value:
        case str():
            return _write(value)
        case Mapping():
            return {name: _write_texts(item) for name, item in value.items()}
        case list() | tuple():
            return [_write_texts(item) for item in value]
        case _:
            return value


JsonWithTexts = Annotated[object, BeforeValidator(_read_texts), PlainSerializer(_write_texts)]
"""A plain JSON object whose texts can be messages."""
