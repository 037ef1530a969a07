"""Audio files of a table → clips in memory, with facts about files that are left out or look wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import MissingPackageError
from compress.core.fact import Fact
from compress.core.language import gettext

Wave = NDArray[np.float32]
"""Samples of a clip in [−1, 1], (S,)."""
ReadClip = Callable[[str], Wave]
"""Reads a clip by its name; raises ValueError or OSError where it cannot be read."""
CLIPPED = 0.01
"""Fraction of samples at the largest value from which a clip counts as clipped."""
FULL = 0.999
"""Magnitude that counts as the largest value."""
FASTEST = 40.0
"""Characters per second that nobody says."""
_NAMED = 5


@dataclass
class ClipIssues:
    """Names of clips by what is wrong with them, in the order of the files.

    Attributes:
        names: By the code of the fact.
    """

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, code: str, name: str) -> None:
        """Note a clip."""
        self.names.setdefault(code, []).append(name)

    def facts(self, **values: float) -> tuple[Fact, ...]:
        """A fact for each kind, with the first names and the number of clips."""
        return tuple(
            Fact.of(
                code,
                ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else ""),
                count=len(names),
                **values,
            )
            for code, names in self.names.items()
        )


def file_reader(folder: Path, rate: int) -> ReadClip:
    """Reads audio files by their paths.

    Args:
        folder: Folder of relative paths.
        rate: Samples per second of the clips.

    Raises:
        MissingPackageError: soundfile is not installed.
    """
    try:
        from compress.data.audio.decode_audio import read_audio
    except ImportError as error:
        raise MissingPackageError("soundfile", "audio", gettext("audio data")) from error
    return lambda name: read_audio(folder / name, rate)


def find_issues(wave: Wave, seconds: float, characters: int | None) -> tuple[str, ...]:
    """Codes of facts about what looks wrong with a clip: it is silent, clipped, or has too many characters for its time.

    Args:
        wave: Its samples.
        seconds: Its length.
        characters: Length of its transcript; None without one.
    """
    level = np.abs(wave)
    found = []
    if not level.any():
        found.append("data.clips_silent")
    elif float((level >= FULL).mean()) > CLIPPED:
        found.append("data.clips_clipped")
    if characters is not None and characters > FASTEST * seconds + 1:
        found.append("data.clips_fast")
    return tuple(found)


def read_all(names: Sequence[str], read: ReadClip, issues: ClipIssues, reasons: dict[str, str]) -> list[Wave | None]:
    """The clips of these names; None for each that cannot be read.

    Args:
        names: Of the clips.
        read: Reads one.
        issues: Takes the names of clips that cannot be read.
        reasons: Takes the reason of each.
    """
    waves: list[Wave | None] = []
    for name in names:
        try:
            waves.append(read(name))
        except (OSError, ValueError) as error:
            waves.append(None)
            issues.add("data.clips_unreadable", name)
            reasons[name] = str(error)
    return waves
