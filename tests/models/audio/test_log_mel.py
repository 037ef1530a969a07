"""Log-mel features against numpy's FFT, and mel filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.models.audio.log_mel import FLOOR, LogMel, dft_kernels, mel_filters


def test_the_convolution_is_the_fft_of_windowed_frames() -> None:
    layer = LogMel(8000, 20, 0.025, 0.01)
    wave = torch.randn(2, 1000)
    found = layer(wave)
    size, hop = 200, 80
    assert found.shape == (2, 20, 1000 // hop)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    padded = np.pad(wave.numpy(), ((0, 0), (60, 60)))
    frames = np.stack([padded[:, start : start + size] for start in range(0, 1000 - hop + 1, hop)], axis=1)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    expected = np.log(power @ mel_filters(8000, size, size // 2 + 1, 20).T + FLOOR)
    np.testing.assert_allclose(found.numpy(), expected.transpose(0, 2, 1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("rate", "bands"), [(8000, 40), (16_000, 80), (8000, 128)])
def test_each_filter_has_the_sum_one_and_centres_rise(rate: int, bands: int) -> None:
    window = rate // 40
    filters = mel_filters(rate, window, window // 2 + 1, bands)
    np.testing.assert_allclose(filters.sum(1), 1, rtol=1e-5)
    centres = filters @ np.arange(filters.shape[1])
    assert (np.diff(centres) >= 0).all()
    assert (filters >= 0).all()


def test_a_tone_is_in_its_own_band() -> None:
    time = torch.arange(8000) / 8000
    layer = LogMel(8000, 40, 0.025, 0.01)
    bands = [int(layer(torch.sin(2 * torch.pi * tone * time)[None])[0, :, 50].argmax()) for tone in (200.0, 1000.0, 3000.0)]
    assert bands == sorted(set(bands))


def test_kernels_are_orthogonal_parts_of_a_transform() -> None:
    kernels = dft_kernels(16, 9)
    assert kernels.shape == (18, 1, 16)
    assert abs(float((kernels[3, 0] * kernels[12, 0]).sum())) < 1e-6
    assert not list(LogMel(8000, 20, 0.025, 0.01).parameters())
