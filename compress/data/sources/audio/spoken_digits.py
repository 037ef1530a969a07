"""`spoken_digits_synthetic`: the ten digits in English, drawn by code with other speakers in each split.

With transcripts a clip is one to four digits, such as `three one seven`. With classes it is one digit, or in one of six clips
`background`: sounds of speech in an order that is no digit. Nobody spoke them: see `speech_synthesis`.
"""

from __future__ import annotations

import numpy as np

from compress.core.seed_of import seed_of
from compress.data.audio.build import build_audio_data, transcript_cell
from compress.data.audio.read_clips import Wave
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.audio.drawn_counts import drawn_counts
from compress.data.sources.audio.speech_synthesis import WORDS, draw_voice, speak
from compress.data.text.table import Cell, TextTable

MOST_WORDS = 4
BACKGROUND = "background"
"""Class of sounds that are no digit."""


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001  # the interface of sources
    """Draw `samples` clips for training, and further ones for validation and test.

    Raises:
        DataError: The clips are longer than `audio.most`, so that too few are left.
    """
    tables = {split: _table(split, count, settings) for split, count in drawn_counts(settings).items()}
    return build_audio_data(tables, lambda name: _clip(name, settings), settings)


def _table(split: str, count: int, settings: DataSettings) -> TextTable:
    names = [f"{split}/{index:05d}" for index in range(count)]
    targets: list[Cell] = []
    for name in names:
        words = _words(name, settings)
        targets.append(transcript_cell(" ".join(words)) if settings.audio.kind == "transcripts" else words[0])
    return TextTable(names, targets=targets)


def _words(name: str, settings: DataSettings) -> tuple[str, ...]:
    """The words of a clip; classes are equally frequent."""
    if settings.audio.kind == "classes":
        names = [*WORDS, BACKGROUND, BACKGROUND]
        return (names[int(name.rpartition("/")[2]) % len(names)],)
    generator = np.random.default_rng(seed_of("digits", "words", name, settings.seed))
    drawn = generator.choice(list(WORDS), size=int(generator.integers(1, MOST_WORDS + 1)))
    return tuple(map(str, drawn))


def _clip(name: str, settings: DataSettings) -> Wave:
    generator = np.random.default_rng(seed_of("digits", "speech", name, settings.seed))
    return speak(_words(name, settings), draw_voice(generator), settings.audio.rate, generator)
