"""Questions with texts that have the answers: windows of long texts, and the tokens of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.text.cells import Answer
from compress.data.text.ragged import Ragged
from compress.data.text.table import TextTable
from compress.data.text.tokenizer import Encoded, TextTokenizer
from compress.data.text.windows import encode_windows

if TYPE_CHECKING:
    from tokenizers import Encoding

SEPARATOR = "\x1e"
"""Character between true answers: U+001E, "record separator"."""
NO_ANSWER, FIRST = -1, 0
"""Token of an answer that a window does not have, and of no answer where questions may have none."""


class Windows(NamedTuple):
    """Windows of questions with their texts.

    Attributes:
        rows: Row of the table that each is of.
        encoded: Their token numbers.
        targets: Targets by name, see `compress.tasks.text.question_answering`.
    """

    rows: list[int]
    encoded: Encoded
    targets: dict[str, Tensor | Ragged]


def answer_windows(table: TextTable, tokenizer: TextTokenizer, stride: int | None) -> Windows:
    """The windows of questions (first texts) and their texts (second texts).

    Args:
        table: Questions, texts, and answers as targets.
        tokenizer: Cuts at the longest sequence.
        stride: Tokens that two windows of a text share; None cuts the text, in one window.

    Raises:
        DataError: There are no second texts, or the stride leaves no place.
    """
    if table.pairs is None:
        msg = gettext("questions need texts that have the answers; name both: `columns: {text: question, text_pair: context}`")
        raise DataError(msg)
    rows, encodings, cut = encode_windows(tokenizer, table.texts, table.pairs, stride)
    answers = [_answers(target) for target in table.targets or [None] * len(table)]
    has_null = any(each is not None and not each for each in answers)
    places = [_place(encoding, answers[row], has_null=has_null) for row, encoding in zip(rows, encodings, strict=True)]
    spans = [_characters(encoding) for encoding in encodings]
    targets: dict[str, Tensor | Ragged] = {
        "start": torch.tensor([start for start, _ in places]),
        "end": torch.tensor([end for _, end in places]),
        "question": torch.tensor(rows),
        "context": Ragged.of([_points(table.pairs[row]) for row in rows]),
        "answers": Ragged.of([_points(SEPARATOR.join(each.text for each in answers[row] or ())) for row in rows]),
        "first_character": Ragged.of([[first for first, _ in each] for each in spans]),
        "next_character": Ragged.of([[last for _, last in each] for each in spans]),
    }
    return Windows(rows, tokenizer.pack(encodings, cut=cut), targets)


def _answers(target: object) -> list[Answer] | None:
    return [each for each in target if isinstance(each, Answer)] if isinstance(target, list | tuple) else None


def _characters(encoding: Encoding) -> list[tuple[int, int]]:
    """Characters of each token of the text; (0, 0) for other tokens."""
    return [
        (first, last) if sequence == 1 else (0, 0)
        for (first, last), sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
    ]


def _place(encoding: Encoding, answers: Sequence[Answer] | None, *, has_null: bool) -> tuple[int, int]:
    """First and last token of the first answer."""
    missing = (FIRST, FIRST) if has_null else (NO_ANSWER, NO_ANSWER)
    if not answers:
        return missing if answers is not None else (NO_ANSWER, NO_ANSWER)
    begin, end = answers[0].start, answers[0].start + len(answers[0].text)
    inside = [
        place for place, (first, last) in enumerate(_characters(encoding)) if last > first and first < end and begin < last
    ]
    spans = _characters(encoding)
    if not inside or spans[inside[0]][0] > begin or spans[inside[-1]][1] < end:
        return missing
    return inside[0], inside[-1]


def _points(text: str) -> list[int]:
    return [*map(ord, text.replace("\0", " "))]
