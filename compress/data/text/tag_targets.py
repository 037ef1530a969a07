"""Tags of tokens from tagged words or labelled spans: the first token of a word has the tag of the word."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.core.errors import DataError, nearest
from compress.core.language import gettext
from compress.data.batch import UNLABELLED
from compress.data.text.cells import LabelledSpan, TaggedWord
from compress.data.text.ragged import Ragged
from compress.data.text.table import TextTable

if TYPE_CHECKING:
    from tokenizers import Encoding

NO_TAG = -1
"""Target of a token without a tag that is no padding: a special token, and what follows the first token of a word."""
OUTSIDE = "O"


def tag_names(tables: Sequence[TextTable]) -> tuple[str, ...]:
    """The tags of the training texts: `O` first, then by type, `B` before `I`.

    Args:
        tables: Training, validation and test texts.

    Raises:
        DataError: There are none, or another text has a tag that no training text has.
    """
    found = {tag for target in tables[0].targets or () for tag in _tags(target)}
    if not found:
        raise DataError(gettext("no training text has tags; check the column of targets"))
    names = tuple(sorted(found, key=lambda tag: (tag != OUTSIDE, tag.partition("-")[2] or tag, tag)))
    for table in tables[1:]:
        for row, target in enumerate(table.targets or ()):
            for tag in _tags(target):
                if tag not in found:
                    msg = gettext(
                        "{place}: no training text has the tag {tag!r}: {hint}; correct it, or add such texts for training",
                        place=table.name(row),
                        tag=tag,
                        hint=nearest(tag, names),
                    )
                    raise DataError(msg)
    return names


def _tags(target: object) -> set[str]:
    if not isinstance(target, list | tuple):
        return set()
    tags = {each.tag for each in target if isinstance(each, TaggedWord)}
    labels = {each.label for each in target if isinstance(each, LabelledSpan)}
    spans = {f"{prefix}-{label}" for label in labels for prefix in "BI"} | {OUTSIDE}
    return tags | (spans if labels or not target else set())


def tag_targets(encodings: Sequence[Encoding], table: TextTable, names: Sequence[str]) -> Ragged:
    """The tag of each token, `NO_TAG` without one; padding is `UNLABELLED`.

    Args:
        encodings: Of the texts.
        table: The texts with tagged words or labelled spans.
        names: Of the tags.
    """
    numbers = {name: index for index, name in enumerate(names)}
    targets = table.targets or [None] * len(table)
    rows = [_row(encoding, target, numbers) for encoding, target in zip(encodings, targets, strict=True)]
    return Ragged.of(rows, UNLABELLED)


def _row(encoding: Encoding, target: object, numbers: dict[str, int]) -> list[int]:
    row = [NO_TAG] * max(1, len(encoding.ids))
    if not isinstance(target, list | tuple):
        return row
    words = [each for each in target if isinstance(each, TaggedWord)]
    if words:
        return _of_words(encoding, words, numbers, row)
    return _of_spans(encoding, [each for each in target if isinstance(each, LabelledSpan)], numbers, row)


def _of_words(encoding: Encoding, words: Sequence[TaggedWord], numbers: dict[str, int], row: list[int]) -> list[int]:
    starts, done = [word.start for word in words], -1
    for place, (first, last) in enumerate(encoding.offsets):
        index = bisect_right(starts, max(first, last - 1)) - 1
        if last > first and index > done and last <= words[index].end + 1:
            row[place], done = numbers[words[index].tag], index
    return row


def _of_spans(encoding: Encoding, spans: Sequence[LabelledSpan], numbers: dict[str, int], row: list[int]) -> list[int]:
    """Words are those of the tokenizer; the first one that a span touches begins it."""
    word, open_span = None, None
    for place, ((first, last), own) in enumerate(zip(encoding.offsets, encoding.word_ids, strict=True)):
        if last <= first or own is None or own == word:
            continue
        word = own
        span = next((each for each in spans if each.start < last and first < each.end), None)
        prefix = "I" if span is not None and span is open_span else "B"
        row[place] = numbers[OUTSIDE if span is None else f"{prefix}-{span.label}"]
        open_span = span
    return row
