"""Drawn clips with drawn speech: louder where somebody speaks, the same again for a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.data.audio.settings import AudioSettings
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.audio.voice_activity_synthetic import draw_clip

SETTINGS = DataSettings(
    source="voice_activity_synthetic",
    samples=62,
    evaluation_limit=20,
    audio=AudioSettings(rate=8000, typical=3.0, most=4.0, targets="speech"),
)


def test_clips_differ_and_are_the_same_again(tmp_path: Path) -> None:
    data, again = (load_data(SETTINGS, base=tmp_path) for _ in range(2))
    assert data.train.fingerprint == again.train.fingerprint
    assert (len(data.train), len(data.validation), len(data.test)) == (62, 20, 20)
    assert not data.warnings
    targets = np.concatenate([batch.targets["target"].numpy() for batch in data.train.ordered(62)])
    assert 0.1 < (targets == 1).mean() < 0.6


def test_speech_is_louder_than_what_is_around_it_and_some_clips_have_none() -> None:
    silent, louder = 0, []
    for index in range(30):
        wave, times = draw_clip(f"test/{index}", SETTINGS)
        assert np.abs(wave).max() <= 1.0
        speech = np.zeros(len(wave), bool)
        for start, end in times:
            speech[round(start * 8000) : round(end * 8000)] = True
        silent += not times
        if times:
            louder.append(np.mean(wave[speech] ** 2) > np.mean(wave[~speech] ** 2))
    assert 3 <= silent <= 20
    assert np.mean(louder) > 0.9
