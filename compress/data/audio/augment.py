"""Augmentation of clips: speed, noise at a given ratio, and masks of time and frequency.

Clips are changed as audio, before any network, so that teacher and student hear the same, whatever their features are.

    speed        the clip at 1 / factor of its length, pitch and all                Ko et al. 2015, Interspeech
    noise        white noise with 10 log10(power of the clip / power of the noise) = snr dB
    masks        spans of time set to 0, bands of frequency taken out               after Park et al. 2019, SpecAugment,
                                                                                     arXiv:1904.08779, which masks features
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from compress.core.seed_of import seed_of
from compress.data.audio.settings import AudioAugmentation

Wave = NDArray[np.float32]
STEPS = 20
"""Speeds are multiples of 1 / STEPS, so that the polyphase filter stays short."""


def augment(wave: Wave, settings: AudioAugmentation, rate: int, *seed: int) -> Wave:
    """A changed clip, equal for equal seeds.

    Args:
        wave: Samples in [−1, 1], (S,).
        settings: What is changed.
        rate: Samples per second.
        seed: Numbers of the seed, such as that of the clip and of the view.
    """
    generator = np.random.default_rng(seed_of("audio", *seed))
    wave = change_speed(wave, _uniform(generator, settings.speed))
    if settings.frequency_masks:
        wave = mask_frequencies(wave, generator, settings.frequency_masks, settings.frequency_hz, rate)
    if settings.time_masks:
        wave = mask_times(wave, generator, settings.time_masks, settings.time_seconds, rate)
    if settings.snr is not None:
        wave = add_noise(wave, generator, _uniform(generator, settings.snr))
    return wave


def change_speed(wave: Wave, factor: float) -> Wave:
    """The clip played `factor` times as fast, rounded to a multiple of 1 / `STEPS`."""
    from scipy.signal import resample_poly

    ratio = Fraction(max(1, round(factor * STEPS)), STEPS)
    if ratio == 1:
        return wave
    changed: Wave = resample_poly(wave, ratio.denominator, ratio.numerator).astype(np.float32)
    return changed


def add_noise(wave: Wave, generator: Generator, snr: float) -> Wave:
    """The clip with white noise `snr` dB below it; a silent clip stays."""
    power = float(np.mean(np.square(wave, dtype=np.float64)))
    noise = generator.standard_normal(len(wave)).astype(np.float32)
    noisy: Wave = (wave + noise * np.float32(np.sqrt(power / 10 ** (snr / 10)))).astype(np.float32)
    return noisy


def mask_times(wave: Wave, generator: Generator, count: int, seconds: float, rate: int) -> Wave:
    """The clip with `count` silent spans of up to `seconds` each."""
    masked = wave.copy()
    for _ in range(count):
        length = int(generator.uniform(0, seconds) * rate)
        start = int(generator.integers(0, max(1, len(wave) - length)))
        masked[start : start + length] = 0
    return masked


def mask_frequencies(wave: Wave, generator: Generator, count: int, hertz: float, rate: int) -> Wave:
    """The clip without `count` bands of up to `hertz` each."""
    spectrum = np.fft.rfft(wave)
    frequencies = np.fft.rfftfreq(len(wave), 1 / rate)
    for _ in range(count):
        width = generator.uniform(0, hertz)
        low = generator.uniform(0, max(0.0, rate / 2 - width))
        spectrum[(frequencies >= low) & (frequencies < low + width)] = 0
    masked: Wave = np.fft.irfft(spectrum, len(wave)).astype(np.float32)
    return masked


def _uniform(generator: Generator, ends: tuple[float, float]) -> float:
    return float(generator.uniform(*ends))
