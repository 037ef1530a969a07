"""Manifests become three splits; files that are faulty are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from compress.core.errors import DataError
from compress.core.sentences import render
from compress.data.audio.settings import AudioSettings
from compress.data.batch import TARGET
from compress.data.factory import data_fingerprint, load_data
from compress.data.interface import Data
from compress.data.settings import DataSettings
from tests.data.audio.files import change, tone, write_manifest


def loaded(path: Path, *, limit: int | None = None, **audio: Any) -> Data:
    settings = AudioSettings(**{"rate": 8000, "typical": 0.3, "most": 1.0, **audio})
    return load_data(DataSettings(source=f"audio_manifest:{path}", audio=settings, limit=limit), base=path.parent)


def sentences(data: Data) -> str:
    return "\n".join(render(fact) for fact in (*data.skipped, *data.warnings))


def test_a_manifest_becomes_splits_with_characters(tmp_path: Path) -> None:
    data = loaded(write_manifest(tmp_path))
    assert data.spec.classes == ("<blank>", " ", "a", "b")
    assert data.spec.audio is not None
    assert data.spec.audio.rate == 8000
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 2, 6)
    assert [tensor.name for tensor in data.spec.signature.inputs] == ["audio", "attention_mask"]
    batch = next(iter(data.train.ordered(3)))
    assert batch.inputs["audio"].shape == batch.inputs["attention_mask"].shape
    assert set(batch.targets[TARGET].flatten().tolist()) <= {-100, 1, 2, 3}


def test_classes_are_targets_too_and_long_clips_are_cut(tmp_path: Path) -> None:
    data = loaded(write_manifest(tmp_path, key="label"), targets="classes", most=0.4)
    assert data.spec.classes == ("high", "low")
    assert max(int(batch.inputs["audio"].shape[1]) for batch in data.train.ordered(4)) == 3200
    assert "cut there" in sentences(data)


def test_faulty_files_are_left_out_and_named(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 30)
    (tmp_path / "000.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "001.wav", np.zeros(0, np.float32), 8000)
    soundfile.write(tmp_path / "002.wav", tone(0.01), 8000)
    soundfile.write(tmp_path / "003.wav", tone(3.0), 8000)
    soundfile.write(tmp_path / "004.wav", np.zeros(4000, np.float32), 8000)
    soundfile.write(tmp_path / "005.wav", np.sign(tone(0.5)), 8000)
    change(path, 6, audio="missing.wav")
    change(path, 7, text="ab" * 40)
    data = loaded(path)
    assert len(data.train) + len(data.validation) + len(data.test) == 25
    told = sentences(data)
    for name, reason in (
        ("000.wav", "no audio"),
        ("001.wav", "no samples"),
        ("002.wav", "too short"),
        ("003.wav", "longer than 1.0 s"),
        ("004.wav", "silent"),
        ("005.wav", "clipped"),
        ("missing.wav", "No such file"),
        ("007.wav", "wrong sampling rate"),
    ):
        assert any(name in line and reason in line for line in told.splitlines()), (name, reason, told)


def test_characters_that_the_network_cannot_write_are_told_or_refused(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    path = write_manifest(tmp_path)
    path.rename(tmp_path / "train.jsonl")
    (tmp_path / "test.jsonl").write_text(
        '{"audio": "001.wav", "text": "a\N{LATIN SMALL LETTER E WITH ACUTE}b"}\n{"audio": "002.wav", "text": "ba"}'
    )
    data = loaded(tmp_path)
    assert "001.wav" in next(line for line in sentences(data).splitlines() if "cannot write" in line)
    assert next(iter(data.test.ordered(2))).targets[TARGET][0].tolist() == [2, -2, 3]
    with pytest.raises(DataError, match=r"its transcript has 'b', which audio.characters lacks"):
        loaded(tmp_path, characters="a")


def test_a_clip_without_a_transcript_is_for_training_alone(tmp_path: Path) -> None:
    path = write_manifest(tmp_path)
    change(path, 0, text="")
    data = loaded(path)
    rows = [row.tolist() for batch in data.train.ordered(1) for row in batch.targets[TARGET]]
    assert [-1] in rows


def test_nothing_to_train_on_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = write_manifest(tmp_path)
    for file in tmp_path.glob("*.wav"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="0 training clips can be used"):
        loaded(path)


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    path = write_manifest(tmp_path)
    settings = DataSettings(source=f"audio_manifest:{path}")
    before = data_fingerprint(settings, tmp_path)
    soundfile.write(tmp_path / "000.wav", tone(0.7), 8000)
    assert data_fingerprint(settings, tmp_path) != before


def test_settings_of_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image_size is no setting of audio"):
        load_data(DataSettings(source="audio_manifest:a.jsonl", image_size=32), base=tmp_path)
    with pytest.raises(DataError, match="audio is a setting of audio"):
        load_data(DataSettings(source="digits", audio=AudioSettings(rate=8000)), base=tmp_path)
