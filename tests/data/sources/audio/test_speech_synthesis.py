"""Drawn speech: seeded, within limits, with the formants that it is told to have."""

from __future__ import annotations

import numpy as np
import pytest

from compress.data.sources.audio.speech_synthesis import SOUNDS, WORDS, Voice, draw_voice, speak


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_spoken_the_same_way_for_the_same_seed(word: str) -> None:
    first, again = (
        speak((word,), draw_voice(generator), 8000, generator)
        for generator in (np.random.default_rng(3), np.random.default_rng(3))
    )
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32
    assert 0.2 < len(first) / 8000 < 1.5
    assert 0.25 < np.abs(first).max() <= 0.9


def test_a_vowel_has_its_energy_at_its_formants(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = Voice(pitch=100.0, tract=1.0, speed=0.25, breath=0.0)
    peaks = {}
    for name in ("iy", "ao"):
        monkeypatch.setitem(WORDS, name, (name,))
        wave = speak((name,), voice, 16_000, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
        frequency = np.fft.rfftfreq(len(wave), 1 / 16_000)
        upper = (frequency > 700) & (frequency < 3500)
        peaks[name] = float(power[upper] @ frequency[upper] / power[upper].sum())
        assert SOUNDS[name][0].voice == 1.0
    assert peaks["iy"] > 1900 > 1300 > peaks["ao"]
