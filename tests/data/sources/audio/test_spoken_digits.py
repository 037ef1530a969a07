"""The drawn digits as transcripts and as classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from compress.data.audio.settings import AudioSettings
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.audio.speech_synthesis import WORDS


def settings(**audio: object) -> DataSettings:
    return DataSettings(
        source="spoken_digits_synthetic", samples=62, evaluation_limit=20, audio=AudioSettings(rate=8000, most=6.0, **audio)
    )


def test_transcripts_are_digits_and_clips_differ(tmp_path: Path) -> None:
    data, again = (load_data(settings(targets="transcripts"), base=tmp_path) for _ in range(2))
    assert data.train.fingerprint == again.train.fingerprint
    assert (len(data.train), len(data.validation), len(data.test)) == (62, 20, 20)
    assert set("".join(WORDS)) | {" "} == set(data.spec.classes[1:])
    assert not data.warnings


def test_classes_are_equally_frequent(tmp_path: Path) -> None:
    data = load_data(settings(targets="classes"), base=tmp_path)
    assert sorted(data.spec.classes) == sorted([*WORDS, "background"])
    counts = Counter(data.spec.classes[label] for label in np.asarray(data.train.labels).tolist())
    assert counts.pop("background") == 10
    assert set(counts.values()) <= {5, 6}
