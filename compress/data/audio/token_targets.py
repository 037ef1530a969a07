"""Transcripts as tokens: what the decoder of a speech network reads, and what it is to predict.

    tokenizer: ' all circuits are busy' ──► start, prefix …, tokens …, end
    read:    start, prefix …, tokens …           targets:    none …, tokens …, end

The tokens of the prefix, such as that of no times, are given. Names of the classes are the pieces of the tokenizer, so that a
script can write a text without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.preprocessing import WrittenTokens
from compress.data.audio.settings import AudioSettings
from compress.data.batch import UNLABELLED
from compress.data.settings import DataSettings
from compress.data.text.ragged import Ragged
from compress.data.text.tokenizer_files import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LEAST = 2
"""Fewest tokens around a text: the start and the end."""


class TokenTargets(NamedTuple):
    """Transcripts of several splits as tokens.

    Attributes:
        read: Tokens that the decoder reads, of each split.
        targets: Tokens that it predicts.
        classes: Piece of each token.
        written: The tokens around each text.
    """

    read: list[Ragged]
    targets: list[Ragged]
    classes: tuple[str, ...]
    written: WrittenTokens


def token_targets(
    transcripts: Sequence[Sequence[str | None]], names: Sequence[Sequence[str]], settings: DataSettings, base: Path
) -> TokenTargets:
    """Tokens of the transcripts of each split.

    Args:
        transcripts: Of each split; None for a clip without one, whose targets are all unlabelled.
        names: File of each clip, for messages.
        settings: The `data:` block, with the tokenizer.
        base: Folder for relative paths.

    Raises:
        DataError: There is no tokenizer, it has no token that ends a text, or a transcript is too long.
        MissingPackageError: tokenizers is not installed.
    """
    source = settings.tokenizer
    if not isinstance(source, str):
        msg = gettext(
            "the texts of this task are tokens of a network: give an hf: network that hears and writes, such as Whisper"
        )
        raise DataError(msg)
    most = settings.audio.most_tokens
    tokenizer = load_tokenizer(source, base, most)
    tokenizer.tokenizer.no_truncation()  # a longer text is told
    around = tokenizer.tokenizer.encode("").ids
    if len(around) < LEAST:
        msg = gettext(
            "the tokenizer of {source} puts no start and no end around a text; give that of a speech network", source=source
        )
        raise DataError(msg)
    written = WrittenTokens(prefix=tuple(around[:-1]), end=around[-1], most=most)
    read, targets = [], []
    for texts, own in zip(transcripts, names, strict=True):
        rows = [_tokens(text, tokenizer.tokenizer, name, settings.audio) for text, name in zip(texts, own, strict=True)]
        read.append(Ragged.of([[*written.prefix, *(row or ())] for row in rows], written.end))
        unpredicted = [UNLABELLED] * (len(written.prefix) - 1)
        targets.append(
            Ragged.of([[*unpredicted, *([UNLABELLED] if row is None else [*row, written.end])] for row in rows], UNLABELLED)
        )
    vocabulary = tokenizer.tokenizer.get_vocab(with_added_tokens=True)
    pieces = {number: piece for piece, number in vocabulary.items()}
    classes = tuple(pieces.get(number, "") for number in range(tokenizer.vocabulary))
    return TokenTargets(read, targets, classes, written)


def _tokens(text: str | None, tokenizer: Tokenizer, name: str, audio: AudioSettings) -> list[int] | None:
    """Tokens of a transcript without those around it."""
    if text is None:
        return None
    around = len(tokenizer.encode("").ids)
    ids: list[int] = tokenizer.encode(f" {text}" if text else "", add_special_tokens=False).ids
    if len(ids) + around > audio.most_tokens:
        msg = gettext(
            "{name}: its transcript has {count} tokens, more than audio.most_tokens ({most}); raise it, or leave the clip out",
            name=name,
            count=len(ids) + around,
            most=audio.most_tokens,
        )
        raise DataError(msg)
    return ids
