"""Rows of named cells → `TextTable`, the same for all sources of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from compress.core.errors import DataError, nearest
from compress.core.language import gettext
from compress.data.sources.text.conversations import messages_in
from compress.data.sources.text.parts_of_texts import answers_in, tagged_text
from compress.data.text.settings import Columns
from compress.data.text.table import Cell, TextTable

PAIRED = ("scores", "matching")
"""Targets of pairs of texts."""
Row = tuple[str, Mapping[str, object]]
"""Place in messages, and cells by the names of their columns."""


class TableExample(NamedTuple):
    """How a kind of table is written, for messages.

    Attributes:
        recipe: Names of columns in a recipe.
        row: A row of JSONL.
    """

    recipe: str
    row: str


TEXTS = TableExample("columns: {text: sentence, target: label}", '{"text": "…", "target": "…"}')


def table_of(
    rows: Iterable[Row], names: Sequence[str], columns: Columns, place: str, example: TableExample = TEXTS
) -> TextTable:
    """The table of texts in these rows.

    Args:
        rows: The rows.
        names: Names of all columns.
        columns: Columns of texts and targets.
        place: File in messages.
        example: Of such a table, for messages.

    Raises:
        DataError: A column is missing, a text is no text, or there are no rows.
    """
    targets = _check_columns(names, columns, place, example)
    table: dict[str, list[object]] = {"texts": [], "pairs": [], "targets": []}
    origin, members = [], []
    for where, cells in rows:
        origin.append(where)
        members.append("" if columns.group is None else _plain(cells.get(columns.group)))
        text, pair, target = _sample(cells, columns, targets, where)
        table["texts"].append(text)
        table["pairs"].append(pair)
        table["targets"].append(target)
    if not origin:
        msg = gettext("{place} has no rows; give a table of texts", place=place)
        raise DataError(msg)
    return TextTable(
        table["texts"],  # type: ignore[arg-type]
        table["pairs"] if columns.text_pair is not None or columns.response is not None else None,  # type: ignore[arg-type]
        table["targets"] if targets or columns.messages is not None else None,  # type: ignore[arg-type]
        origin,
        () if columns.group is None else members,
    )


def _sample(cells: Mapping[str, object], columns: Columns, targets: Sequence[str], where: str) -> tuple[str, str | None, Cell]:
    """First text, second text and target of a row."""
    if columns.messages is not None:
        messages = messages_in(cells.get(columns.messages), columns.messages, where)
        return "\n".join(message.content for message in messages), None, messages
    if columns.prompt is not None and columns.response is not None:
        prompt, response = (_text(cells.get(name), name, where) for name in (columns.prompt, columns.response))
        return prompt, response, None
    if columns.targets == "tags":
        text, tags = tagged_text(cells.get(columns.text), cells.get(targets[0]) if targets else None, where)
        return text, None, tags
    text = _text(cells.get(columns.text), columns.text, where)
    pair = None if columns.text_pair is None else _text(cells.get(columns.text_pair), columns.text_pair, where)
    if columns.targets == "answers":
        return text, pair, answers_in(pair or "", cells.get(targets[0]), where) if targets else None
    if columns.targets in PAIRED and pair is not None and not (text.strip() and pair.strip()):
        msg = gettext(
            "{where}: a text of the pair is empty; name both in `columns: {{text: …, text_pair: …}}`, or leave the row out",
            where=where,
        )
        raise DataError(msg)
    return text, pair, _target([cells.get(name) for name in targets], columns) if targets else None


def _check_columns(names: Sequence[str], columns: Columns, place: str, example: TableExample) -> tuple[str, ...]:
    """The columns of targets; empty for a table without the default one."""
    targets = (columns.target,) if isinstance(columns.target, str) else columns.target
    is_missing = "target" not in columns.model_fields_set and targets == ("target",) and "target" not in names
    if is_missing or columns.targets in ("masked", "next", "responses", "matching"):
        targets = ()
    texts = (columns.prompt, columns.response, columns.messages) if columns.has_responses else (columns.text, columns.text_pair)
    for name in filter(None, (*texts, columns.group, *targets)):
        if name not in names:
            msg = gettext(
                "{place} has no column {name!r}: {hint}; name the columns in the recipe, such as `{example}`",
                place=place,
                name=name,
                hint=nearest(name, names),
                example=example.recipe,
            )
            raise DataError(msg)
    return targets


def _text(value: object, column: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        msg = gettext(
            "{where}: the column {column} holds {kind}, not a text; name the column of texts in `columns`",
            where=where,
            column=column,
            kind=type(value).__name__,
        )
        raise DataError(msg)
    return value


def _target(cells: Sequence[object], columns: Columns) -> Cell:
    """The target of one row: a cell, several, or the classes of one; None where it is empty."""
    if len(cells) > 1:
        return None if all(cell is None or cell == "" for cell in cells) else [_plain(cell) for cell in cells]
    cell = cells[0]
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return [] if columns.targets == "labels" and cell is not None else None
    if isinstance(cell, list | tuple):
        return [_plain(part) for part in cell]
    if columns.targets == "labels":
        return [part.strip() for part in _plain(cell).split(columns.separator) if part.strip()]
    return _plain(cell)


def _plain(cell: object) -> str:
    """A cell as text: whole numbers without a point."""
    if isinstance(cell, bool):
        return str(int(cell))
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else "" if cell is None else str(cell).strip()
