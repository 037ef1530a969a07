"""Words of a text, and the text with some of them replaced or removed. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from compress.data.text.tokenizer import TextTokenizer

Span = tuple[int, int]
"""First character, and the character after the last one."""
Slots = Sequence[str | None]
"""What stands in the place of each word of a text; None removes the word."""

_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\s{_IDEOGRAPH}]+")


@dataclass(frozen=True)
class Words:
    """A text and its words.

    Attributes:
        text: The text.
        spans: Place of each word that has a letter or a digit, in order.
        fixed: Indices of the words that do not change.
    """

    text: str
    spans: tuple[Span, ...]
    fixed: frozenset[int] = frozenset()

    @property
    def words(self) -> list[str]:
        """The words, in order."""
        return [self.text[start:end] for start, end in self.spans]

    @property
    def free(self) -> list[int]:
        """Indices of the words that may change."""
        return [index for index in range(len(self.spans)) if index not in self.fixed]


class Edited(NamedTuple):
    """A text after a change.

    Attributes:
        text: The text.
        moves: Each piece of the old text that is in it, or a replacement: its start and end in the old text and in this one.
    """

    text: str
    moves: tuple[tuple[int, int, int, int], ...]

    def place(self, start: int, end: int) -> Span | None:
        """Place of a part of the old text that begins and ends with a piece; None where it was removed."""
        inside = [move for move in self.moves if move[0] < end and start < move[1]]
        if not inside:
            return None
        first, last = inside[0], inside[-1]
        return first[2] + max(0, start - first[0]), last[3] - max(0, last[1] - end)


def split_words(tokenizer: TextTokenizer, texts: Sequence[str]) -> list[Words]:
    """The words of texts: those of the tokenizer before it divides them into tokens; of Chinese texts, the characters.

    Words that the tokenizer cuts off, and special tokens that stand in a text, are none.

    Args:
        tokenizer: The tokenizer.
        texts: N texts.
    """
    special = special_tokens(tokenizer)
    found = []
    for text, encoding in zip(texts, tokenizer.encodings(texts), strict=True):
        whole: dict[int, Span] = {}
        for token, (start, end), word in zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True):
            if word is not None and end > start and token not in special:
                first, last = whole.get(word, (start, end))
                whole[word] = (min(first, start), max(last, end))
        spans = [span for first, last in sorted(whole.values()) for span in _parts(text, first, last)]
        found.append(Words(text, tuple(span for span in spans if any(map(str.isalnum, text[slice(*span)])))))
    return found


def special_tokens(tokenizer: TextTokenizer) -> frozenset[int]:
    """Numbers of the special tokens."""
    added = tokenizer.tokenizer.get_added_tokens_decoder()
    return frozenset(number for number, token in added.items() if token.special)


def _parts(text: str, start: int, end: int) -> Iterator[Span]:
    """A word without blanks, and each ideograph by itself."""
    yield from (match.span() for match in _WORD.finditer(text, start, end))


def rebuild(words: Words, slots: Slots) -> Edited:
    """The text with other words in the places of its own; with a removed word goes one of the two blanks beside it.

    Args:
        words: The text.
        slots: What stands in the place of each word.
    """
    text, new, done = words.text, "", 0
    moves: list[tuple[int, int, int, int]] = []
    for (start, end), slot in zip(words.spans, slots, strict=True):
        gap = text[done:start]
        moves.append((done, start, len(new), len(new) + len(gap)))
        new, done = new + gap, end
        if slot is not None:
            moves.append((start, end, len(new), len(new) + len(slot)))
            new += slot
        elif (not new or new[-1].isspace()) and text[end : end + 1].isspace():
            done += 1
    rest = text[done:]
    moves.append((done, len(text), len(new), len(new) + len(rest)))
    removed_last = not rest and bool(slots) and slots[-1] is None
    return Edited(new.rstrip() if removed_last else new + rest, tuple(move for move in moves if move[1] > move[0]))
