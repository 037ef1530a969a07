"""`voice_activity_synthetic`: drawn speech between drawn silence, noise and other sounds, with the times of speech.

A clip of `audio.typical` seconds has a background at its own level: noise of a colour 1 / f^a, with or without hum and beeps.
Two of three clips hold one to three utterances of `speech_synthesis`, 3 to 25 dB above the background. Nobody spoke them.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from compress.core.seed_of import seed_of
from compress.data.audio.build import build_audio_data
from compress.data.audio.read_clips import Wave
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.audio.drawn_counts import drawn_counts
from compress.data.sources.audio.speech_synthesis import WORDS, draw_voice, speak
from compress.data.text.table import Cell, TextTable

SNR_DB = (3.0, 25.0)
"""Least and largest ratio of speech and background."""
LEAST_PAUSE = 0.2
"""Seconds before and after an utterance."""


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001  # the interface of sources
    """Draw `samples` clips for training, and further ones for validation and test.

    Raises:
        DataError: The clips are too short for a network.
    """
    names = {split: [f"{split}/{index:05d}" for index in range(count)] for split, count in drawn_counts(settings).items()}
    drawn = {name: draw_clip(name, settings) for each in names.values() for name in each}
    tables = {split: TextTable(each, targets=[_cell(drawn[name][1]) for name in each]) for split, each in names.items()}
    return build_audio_data(tables, lambda name: drawn[name][0], settings)


def _cell(times: list[tuple[float, float]]) -> Cell:
    return [f"{start}-{end}" for start, end in times]


def draw_clip(name: str, settings: DataSettings) -> tuple[Wave, list[tuple[float, float]]]:
    """A clip, and from and to of each utterance in seconds.

    Args:
        name: Of the clip, for its seed.
        settings: Rate and length.
    """
    generator = np.random.default_rng(seed_of("voice_activity", name, settings.seed))
    rate = settings.audio.rate
    clip = background(round(settings.audio.typical * rate), rate, generator)
    level = float(np.sqrt(np.mean(np.square(clip))))
    times, free = [], LEAST_PAUSE
    voice = draw_voice(generator)._replace(breath=0.0)
    for _ in range(int(generator.integers(1, 4)) if generator.uniform() < 2 / 3 else 0):
        words = tuple(map(str, generator.choice(list(WORDS), size=int(generator.integers(1, 3)))))
        speech = speak(words, voice, rate, generator)
        start = round((free + generator.exponential(0.4)) * rate)
        end = start + len(speech)
        if end + LEAST_PAUSE * rate > len(clip):
            break
        gain = level * 10 ** (generator.uniform(*SNR_DB) / 20) / np.sqrt(np.mean(np.square(speech)))
        clip[start:end] += np.float32(gain) * speech
        times.append((start / rate, end / rate))
        free = end / rate + 2 * LEAST_PAUSE
    peak = float(np.abs(clip).max())
    return (clip * np.float32(min(1.0, 0.95 / peak))).astype(np.float32), times


def background(count: int, rate: int, generator: Generator) -> NDArray[np.float32]:
    """Sounds that are no speech, float32 (S,).

    Args:
        count: S.
        rate: Samples per second.
        generator: Of colour, level, hum and beeps.
    """
    level = 10 ** generator.uniform(-3.0, -1.3)
    spectrum = np.fft.rfft(generator.standard_normal(count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / rate), 20.0)
    noise = np.fft.irfft(spectrum * frequencies ** -generator.uniform(0.0, 1.0), count)
    noise *= level / max(float(noise.std()), 1e-9)
    time = np.arange(count) / rate
    if generator.uniform() < 0.3:
        mains = float(generator.choice([50.0, 60.0]))
        noise += sum(level / order * np.sin(2 * np.pi * order * mains * time) for order in (1, 2, 3, 5))
    for _ in range(int(generator.integers(0, 3)) if generator.uniform() < 0.4 else 0):
        start, length = int(generator.integers(0, count)), round(generator.uniform(0.03, 0.3) * rate)
        part = time[start : start + length]
        tone = np.sin(2 * np.pi * generator.uniform(300, rate / 2 - 500) * part) * np.hanning(len(part) + 2)[1:-1]
        noise[start : start + length] += level * generator.uniform(2, 12) * tone
    return noise.astype(np.float32)
