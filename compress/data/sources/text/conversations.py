"""Cells that hold conversations: a list of messages, or the same as JSON in a table of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.text.cells import ChatMessage

EXAMPLE = '[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]'


def messages_in(cell: object, column: str, where: str) -> list[ChatMessage]:
    """The messages of a cell.

    Args:
        cell: A list of mappings with `role` and `content`, or JSON of one.
        column: Its column, for messages.
        where: Place of its row, for messages.

    Raises:
        DataError: It is none.
    """
    value = cell
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if isinstance(value, list) and value and all(_is_message(each) for each in value):
        return [ChatMessage(each["role"], each.get("content") or "") for each in value]
    msg = gettext(
        "{where}: the column {column} holds no conversation: {cell}; write {example}",
        where=where,
        column=column,
        cell=_short(cell),
        example=EXAMPLE,
    )
    raise DataError(msg)


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str | None)


def _short(cell: object) -> str:
    text = str(cell)
    return text if len(text) <= 80 else f"{text[:79]}…"
