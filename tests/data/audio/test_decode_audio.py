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


def test_a_header_may_give_any_number_of_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(), 8000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # 36 bits of the stream info: number of samples
    content[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no audio"):  # and no 256 GiB are asked for
        read_audio(path, 8000)


def test_a_long_file_is_read_whole_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.stack([tone(2.0), tone(2.0)], axis=1)
    soundfile.write(tmp_path / "a.wav", wave, 8000, subtype="FLOAT")
    monkeypatch.setattr("compress.data.audio.decode_audio.BLOCK", 1000)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", 8000), wave[:, 0])
    monkeypatch.setattr("compress.data.audio.decode_audio.LONGEST", 30_000)
    with pytest.raises(ValueError, match="more than 30,000 samples"):
        read_audio(tmp_path / "a.wav", 8000)


def test_samples_are_finite_and_within_one(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", tone(level=100.0), 8000, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "loud.wav", 8000)).max() == 1.0
    for value in (np.nan, np.inf):
        soundfile.write(tmp_path / "odd.wav", np.full(100, value, np.float32), 8000, subtype="FLOAT")
        with pytest.raises(ValueError, match="no finite numbers"):
            read_audio(tmp_path / "odd.wav", 8000)


def test_a_folder_or_a_device_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="No such file"):
            read_audio(path, 8000)
