"""Times in which somebody speaks → a class of each frame of a clip, 1 for speech and 0 for none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.audio.read_clips import Wave
from compress.data.audio.settings import AudioSettings
from compress.data.batch import UNLABELLED
from compress.data.text.ragged import Ragged
from compress.data.text.table import Cell, TextTable

SPEECH_CLASSES = ("other", "speech")
"""Names of the classes of a frame."""
NONE = "none"
"""A cell that says that nobody speaks; an empty cell says nothing."""
_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:e-?\d+)?|\.\d+", re.IGNORECASE)


def read_times(table: TextTable) -> TextTable:
    """The table whose targets are times of speech, `[from, to, from, to, …]` in seconds; None where a clip has none.

    Args:
        table: Its targets are texts such as `0.3-1.2 2.0-2.5`, `none`, or lists of such texts or of pairs.

    Raises:
        DataError: A target is no such text.
    """
    if table.targets is None:
        return TextTable(table.texts, None, [None] * len(table), table.origin, table.members)
    cells = [_times(cell, table.texts[row]) for row, cell in enumerate(table.targets)]
    return TextTable(table.texts, None, cells, table.origin, table.members)


def _times(cell: Cell, name: str) -> list[float] | None:
    if cell is None:
        return None
    text = " ".join(map(str, cell)) if isinstance(cell, list | tuple) else str(cell)
    if text.strip().lower() in ("", NONE):
        return []
    times = [float(each) for each in _NUMBER.findall(text)]
    if len(times) % 2 or not times or any(first >= second for first, second in pairwise(times)):
        msg = gettext(
            "{name}: {text!r} are no times of speech; write from and to of each in seconds, in order, such as `0.3-1.2 2-2.5` "
            "or [[0.3, 1.2], [2, 2.5]], or `none`",
            name=name,
            text=text,
        )
        raise DataError(msg)
    return times


def speech_targets(table: TextTable, waves: Sequence[Wave], audio: AudioSettings) -> Ragged:
    """Class of each whole frame of each clip; `UNLABELLED` for a clip without times.

    A frame is speech where its middle is between `from` and `to`.

    Args:
        table: Targets of `read_times`.
        waves: The clips.
        audio: Rate, longest clip, and length of a frame.

    Raises:
        DataError: Somebody speaks after the end of a clip.
    """
    rows = []
    for name, cell, wave in zip(table.texts, table.targets or (), waves, strict=True):
        count = len(wave) // audio.frame_samples
        if not isinstance(cell, list):
            rows.append(np.full(count, UNLABELLED).tolist())
            continue
        times = np.array(cell, dtype=np.float64).reshape(-1, 2)
        seconds = len(wave) / audio.rate
        if times.size and times.max() > seconds + audio.frame and len(wave) < audio.most_samples:
            msg = gettext(
                "{name}: speech to {end:g} s, but the file has {seconds:g} s; write the right times, or the right sampling "
                "rate",
                name=name,
                end=float(times.max()),
                seconds=seconds,
            )
            raise DataError(msg)
        rows.append(frames_of(times, count, audio.frame_samples / audio.rate).tolist())
    return Ragged.of(rows, UNLABELLED)


def frames_of(times: np.ndarray, count: int, frame: float) -> np.ndarray:
    """Class of each frame, int64 (T,).

    Args:
        times: From and to of each span, seconds, (R, 2).
        count: T.
        frame: Seconds of a frame.
    """
    middles = (np.arange(count) + 0.5) * frame
    inside = (middles[:, None] >= times[:, 0]) & (middles[:, None] < times[:, 1])
    return np.where(inside.any(axis=1), np.int64(1), np.int64(0))
