"""Windows of long texts beside a question, and questions that leave room for a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding


class EncodedWindows(NamedTuple):
    """Windows of several texts.

    Attributes:
        rows: Number of the text that each is of.
        encodings: Their tokens.
        cut: Number of texts that are cut, without windows.
    """

    rows: list[int]
    encodings: list[Encoding]
    cut: int


def encode_windows(
    tokenizer: TextTokenizer, questions: Sequence[str], texts: Sequence[str], stride: int | None
) -> EncodedWindows:
    """Each question with each window of its text.

    The tokenizer cuts second texts alone from then on, and has the stride, both of which are part of its file.

    Args:
        tokenizer: Changed in place.
        questions: N questions; a question of more than half of the longest sequence is cut.
        texts: N texts.
        stride: Tokens that two windows of a text share; None cuts the text, in one window.

    Raises:
        DataError: Windows of this stride do not fit beside a question.
    """
    most = tokenizer.max_length
    longest = most // 2
    if stride is not None and stride >= most - longest - 3:
        msg = gettext(
            "lengths.stride {stride} leaves no room for text: a window of {most} tokens holds a question of up to {longest}; "
            "lower `stride`, or raise `most`",
            stride=stride,
            most=most,
            longest=longest,
        )
        raise DataError(msg)
    tokenizer.tokenizer.enable_truncation(longest)
    shortened = [_shortened(text, each) for text, each in zip(questions, tokenizer.encodings(questions), strict=True)]
    tokenizer.tokenizer.enable_truncation(most, stride=stride or 0, strategy="only_second")
    rows, encodings, cut = [], [], 0
    for row, encoding in enumerate(tokenizer.encodings(shortened, texts)):
        windows = [encoding, *encoding.overflowing] if stride is not None else [encoding]
        cut += stride is None and bool(encoding.overflowing)
        rows += [row] * len(windows)
        encodings += windows
    return EncodedWindows(rows, encodings, cut)


def _shortened(text: str, encoding: Encoding) -> str:
    if not encoding.overflowing:
        return text
    return text[: max((last for _, last in encoding.offsets), default=0)]
