"""Transcripts, of speech or of lines of text → classes of characters. Class 0 is the blank of CTC. torch is imported on use."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.batch import UNLABELLED

if TYPE_CHECKING:
    from compress.data.text.ragged import Ragged

BLANK = 0
"""Class of no character."""
BLANK_NAME = "<blank>"
"""Its name among the classes of a network."""
UNTOLD = -1
"""The only element of the target of a clip without a transcript."""
UNKNOWN = -2
"""Element of a target for a character that is no class, which counts as an error."""


def plain_transcript(text: str, *, lowercase: bool) -> str:
    """A transcript in the normal form NFC, with single spaces."""
    words = " ".join(unicodedata.normalize("NFC", text).split())
    return words.lower() if lowercase else words


def character_names(transcripts: Sequence[str | None], characters: str | None, names: Sequence[str]) -> tuple[str, ...]:
    """Names of the classes: the blank, then the characters in order.

    Args:
        transcripts: Of the training clips; None without one.
        characters: Those that are allowed; None for those of the transcripts.
        names: File of each clip, for the error.

    Raises:
        DataError: No clip has a transcript, or one has a character that is not allowed.
    """
    told = [(text, name) for text, name in zip(transcripts, names, strict=True) if text is not None]
    used = sorted({character for text, _ in told for character in text})
    if not used and characters is None:
        msg = gettext("no training clip has a transcript; give them in the column that `audio.target` names")
        raise DataError(msg)
    if characters is None:
        return (BLANK_NAME, *used)
    allowed = {" ", *unicodedata.normalize("NFC", characters)}
    for text, name in told:
        if strange := sorted({character for character in text if character not in allowed}):
            msg = gettext(
                "{name}: its transcript has {strange}, which audio.characters lacks; add it there, or change the transcript "
                "{text!r}",
                name=name,
                strange=", ".join(map(repr, strange)),
                text=text,
            )
            raise DataError(msg)
    return (BLANK_NAME, *sorted(allowed))


def character_targets(transcripts: Sequence[str | None], names: Sequence[str]) -> Ragged:
    """Classes of the characters of each transcript, `UNKNOWN` for a character that is none; `[UNTOLD]` without one.

    Args:
        transcripts: Of the clips.
        names: Names of the classes.
    """
    from compress.data.text.ragged import Ragged

    classes = {name: index for index, name in enumerate(names) if index}
    rows = [[UNTOLD] if text is None else [classes.get(each, UNKNOWN) for each in text] for text in transcripts]
    return Ragged.of(rows, UNLABELLED)


def unwritable(transcripts: Sequence[str | None], names: Sequence[str]) -> Iterator[int]:
    """Numbers of the clips whose transcripts have characters that are no class."""
    known = set(names[1:])
    return (index for index, text in enumerate(transcripts) if text is not None and not set(text) <= known)
