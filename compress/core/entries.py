"""Entries of plain objects with a checked type: rows of tables, manifests, states in checkpoints.

Such objects come from files or hold what differs from method to method, so that the type of an entry is not declared:
`number(row, "macs")` is a float for the type checker, and an error with the entry's name where it is not one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compress.core.language import gettext

Row = Mapping[str, object]
"""One row of a table of a record, by column; plain JSON."""
Tables = dict[str, tuple[Row, ...]]
"""Rows by table name."""
State = Mapping[str, object]
"""State of a training for a checkpoint: tensors and plain containers."""


def number(entries: Mapping[str, object], name: str) -> float:
    """An entry that is a number; an integer stays one.

    Raises:
        KeyError: There is no such entry.
        TypeError: It is something else.
    """
    value = entries[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unexpected(name, value, gettext("a number"))
    return value


def number_or_none(entries: Mapping[str, object], name: str) -> float | None:
    """An entry that is a number; None where it is None or absent.

    Raises:
        TypeError: It is something else.
    """
    return None if entries.get(name) is None else number(entries, name)


def integer(entries: Mapping[str, object], name: str) -> int:
    """An entry that is an integer.

    Raises:
        KeyError: There is no such entry.
        TypeError: It is something else.
    """
    value = entries[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise _unexpected(name, value, gettext("an integer"))
    return value


def text(entries: Mapping[str, object], name: str) -> str:
    """An entry that is a text.

    Raises:
        KeyError: There is no such entry.
        TypeError: It is something else.
    """
    value = entries[name]
    if not isinstance(value, str):
        raise _unexpected(name, value, gettext("a text"))
    return value


def items(entries: Mapping[str, object], name: str) -> Sequence[object]:
    """An entry that is a list or a tuple.

    Raises:
        KeyError: There is no such entry.
        TypeError: It is something else.
    """
    value = entries[name]
    if not isinstance(value, list | tuple):
        raise _unexpected(name, value, gettext("a list"))
    return value


def mapping(entries: Mapping[str, object], name: str) -> Mapping[str, object]:
    """An entry that holds entries of its own; empty where it is None or absent.

    Raises:
        TypeError: It is something else.
    """
    value = entries.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _unexpected(name, value, gettext("a mapping"))
    return value


def _unexpected(name: str, value: object, expected: str) -> TypeError:
    return TypeError(
        gettext(
            "{name!r} must be {expected}, not {kind} ({value!r:.60})",
            name=name,
            expected=expected,
            kind=type(value).__name__,
            value=value,
        )
    )
