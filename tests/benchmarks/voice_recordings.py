"""Recordings of real speech between drawn sounds, with the frames in which somebody speaks, for `bench_voice_activity.py`.

A recording has a drawn background (noise, hum, beeps) and real clips at random places, 5 to 25 dB above it. A frame counts
as speech where the clean clip is within 40 dB of its loudest frame; gaps of up to 0.3 s between such frames count too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.data.audio.decode_audio import read_audio
from compress.data.sources.audio.voice_activity_synthetic import background

RATE, FRAME = 16_000, 512
"""Samples per second, and of a frame."""
SECONDS = 30
SNR_DB = (5.0, 25.0)
BELOW_DB, GAP_S = 40.0, 0.3


class Recording(NamedTuple):
    """A recording.

    Attributes:
        wave: Samples, (S,), whole frames.
        speech: Whether somebody speaks in each frame, (T,).
    """

    wave: NDArray[np.float32]
    speech: NDArray[np.bool_]


def speech_frames(clip: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Frames of a clean clip with speech, (T,)."""
    frames = clip[: len(clip) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1)
    found = power > power.max() * 10 ** (-BELOW_DB / 10)
    places, most = np.flatnonzero(found), GAP_S * RATE / FRAME
    for first, second in pairwise(places):
        if second - first <= most:
            found[first:second] = True
    return found


def draw_recordings(clips: Sequence[Path], count: int, seed: int) -> list[Recording]:
    """Recordings of clips, each clip of which occurs in these alone if the callers' clips differ.

    Args:
        clips: Audio files.
        count: Number of recordings.
        seed: Of places, levels and backgrounds.
    """
    generator = np.random.default_rng(seed)
    waves = [read_audio(path, RATE) for path in clips]
    return [_draw(waves, generator) for _ in range(count)]


def _draw(waves: Sequence[NDArray[np.float32]], generator: np.random.Generator) -> Recording:
    count = SECONDS * RATE // FRAME
    wave = background(count * FRAME, RATE, generator)
    level, speech = float(np.sqrt(np.mean(np.square(wave)))), np.zeros(count, bool)
    place = int(generator.integers(0, 60))
    while True:
        clip = waves[int(generator.integers(len(waves)))]
        found = speech_frames(clip)
        if place + len(found) >= count:
            break
        clip = clip[: len(found) * FRAME]
        gain = level * 10 ** (generator.uniform(*SNR_DB) / 20) / np.sqrt(np.mean(np.square(clip)))
        wave[place * FRAME : (place + len(found)) * FRAME] += np.float32(gain) * clip
        speech[place : place + len(found)] = found
        place += len(found) + int(generator.integers(15, 120))
    peak = float(np.abs(wave).max())
    return Recording((wave * np.float32(min(1.0, 0.95 / peak))).astype(np.float32), speech)
