"""Decoding: formats, channels, rates, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from compress.data.audio.decode_audio import read_audio, resample, to_mono
from tests.data.audio.files import tone


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_formats_give_the_samples_that_were_written(suffix: str, tmp_path: Path) -> None:
    wave = tone(1.0, 16_000)
    soundfile.write(tmp_path / f"a{suffix}", wave, 16_000)
    found = read_audio(tmp_path / f"a{suffix}", 16_000)
    assert found.dtype == np.float32
    assert abs(len(found) - len(wave)) <= 1200  # MP3 has whole blocks
    count = min(len(found), len(wave))
    assert np.corrcoef(found[:count], wave[:count])[0, 1] > 0.95


def test_a_tone_keeps_its_frequency_at_another_rate() -> None:
    for own in (8_000, 11_025, 44_100, 48_000):
        found = resample(tone(1.0, own, 440.0), own, 16_000)
        assert abs(len(found) - 16_000) <= 1
        assert abs(np.abs(np.fft.rfft(found)).argmax() - 440) <= 1


def test_an_empty_channel_does_not_halve_the_other() -> None:
    wave = tone()
    np.testing.assert_array_equal(to_mono(np.stack([wave, 0 * wave], axis=1)), wave)
    np.testing.assert_allclose(to_mono(np.stack([wave, -wave], axis=1)), 0 * wave)
    assert not to_mono(np.zeros((10, 2), np.float32)).any()


def test_files_that_are_no_audio_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(ValueError, match="no audio"):
        read_audio(tmp_path / "a.wav", 8000)
    soundfile.write(tmp_path / "b.wav", np.zeros(0, np.float32), 8000)
    with pytest.raises(ValueError, match="no samples"):
        read_audio(tmp_path / "b.wav", 8000)
    soundfile.write(tmp_path / "c.wav", tone(), 10)
    with pytest.raises(ValueError, match="10 samples per second"):
        read_audio(tmp_path / "c.wav", 8000)
    with pytest.raises(OSError, match="missing"):
        read_audio(tmp_path / "missing.wav", 8000)
