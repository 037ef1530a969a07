"""Cells that name parts of a text: words with tags, spans with labels, answers to a question. Imports no torch.

words and tags      ["EU", "rejects"], ["B-ORG", "O"], or both as texts with blanks between
text and spans      "EU rejects", [{"start": 0, "end": 2, "label": "ORG"}], or [[0, 2, "ORG"]]
text and answers    "Ada was born in 1815.", {"text": ["1815"], "answer_start": [16]} as in SQuAD, or "1815"
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.text.cells import Answer, LabelledSpan, TaggedWord

Tagged = list[TaggedWord] | list[LabelledSpan]
_SHOWN = 40


def tagged_text(text: object, tags: object, where: str) -> tuple[str, Tagged | None]:
    """The text, and its words with tags or its spans with labels; no target for an empty cell.

    Args:
        text: Cell of the text or of its words.
        tags: Cell of the tags or of the spans.
        where: Place of the row in messages.

    Raises:
        DataError: There are other numbers of tags and words, or a span is not in the text.
    """
    spans = _json_list(tags)
    if isinstance(text, str) and isinstance(spans, Sequence) and not isinstance(spans, str) and _are_spans(spans):
        return text, [_span(each, text, where) for each in spans]
    words = text.split() if isinstance(text, str) else _texts(text, where)
    joined, places = _joined(words)
    if tags is None or (isinstance(tags, str) and not tags.strip()):
        return joined, None
    names = tags.split() if isinstance(tags, str) else _texts(tags, where)
    if len(names) != len(words):
        msg = gettext(
            "{where}: {tags} tags for {words} words ({text}); give one tag for each word",
            where=where,
            tags=len(names),
            words=len(words),
            text=_short(joined),
        )
        raise DataError(msg)
    return joined, [TaggedWord(start, end, tag) for (start, end), tag in zip(places, names, strict=True)]


def answers_in(context: str, answers: object, where: str) -> list[Answer] | None:
    """The answers with their places in a text; an empty list for a question without an answer, None for an empty cell.

    Args:
        context: The text.
        answers: Cell of the answers.
        where: Place of the row in messages.

    Raises:
        DataError: An answer is not in the text, or not where the cell says.
    """
    if answers is None:
        return None
    cell = _json_list(answers)
    if isinstance(cell, Mapping):
        starts = cell.get("answer_start")
        texts = cell.get("text", ())
        pairs = [(text, None) for text in texts] if starts is None else list(zip(texts, starts, strict=False))
    elif isinstance(cell, str):
        pairs = [(cell, None)] if cell else []
    else:
        parts = cell if isinstance(cell, list | tuple) else [cell]
        pairs = [(each.get("text"), each.get("answer_start")) if isinstance(each, Mapping) else (each, None) for each in parts]
    return [_answer(context, text, start, where) for text, start in pairs]


def _answer(context: str, text: object, start: object, where: str) -> Answer:
    if isinstance(text, str) and text:
        place = context.find(text) if not isinstance(start, int) else start
        if place >= 0 and context[place : place + len(text)] == text:
            return Answer(text, place)
    stated = gettext(" at character {start}", start=start) if isinstance(start, int) else ""
    msg = gettext(
        "{where}: the answer {text!r} is not in its text{stated}, which begins {context!r}; an answer is a part of the text, "
        "letter by letter",
        where=where,
        text=text if not isinstance(text, str) else _short(text),
        stated=stated,
        context=_short(context),
    )
    raise DataError(msg)


def _are_spans(cells: Sequence[object]) -> bool:
    return all(isinstance(each, Mapping) or (isinstance(each, Sequence) and not isinstance(each, str)) for each in cells)


def _span(cell: object, text: str, where: str) -> LabelledSpan:
    values = (cell.get("start"), cell.get("end"), cell.get("label")) if isinstance(cell, Mapping) else tuple(cell)  # type: ignore[arg-type]
    if len(values) == 3:
        start, end, label = values
        if isinstance(start, int) and isinstance(end, int) and isinstance(label, str) and 0 <= start < end <= len(text):
            return LabelledSpan(start, end, label)
    msg = gettext(
        "{where}: {cell} is no span of its text of {count} characters; give start, end and label, with 0 ≤ start < end",
        where=where,
        cell=cell,
        count=len(text),
    )
    raise DataError(msg)


def _json_list(cell: object) -> object:
    """The list or mapping that a cell of a table of texts holds as JSON; other cells as they are."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell


def _texts(cell: object, where: str) -> list[str]:
    if isinstance(cell, list | tuple) and all(isinstance(each, str) for each in cell):
        return list(cell)
    msg = gettext("{where}: {cell!r} is no list of texts; give words and tags as lists", where=where, cell=cell)
    raise DataError(msg)


def _joined(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Words with blanks between, and the place of each."""
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), places


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
