"""Speech that is drawn by code: harmonics of a pitch under the resonances of a vocal tract, and bands of noise.

It is synthetic, and sounds so: a network that is trained on it alone does not understand people. Each word is a list of sounds.
A sound has the frequencies of three formants at its beginning and its end, the level of the voice, and the level of noise in
three bands. The voice is

    x(t) = Σ_k A(k f0(t), t) sin φ_k(t),   φ_k' = 2π k f0,   A(f) = Π_j 1 / √((1 − f²/F_j²)² + (f B_j / F_j²)²)

the additive form of the source-filter model of Fant 1960, "Acoustic Theory of Speech Production", with formants F_j of Peterson
& Barney 1952, J. Acoust. Soc. Am. 24:175, and bandwidths B_j.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Wave = NDArray[np.float32]
STEP = 0.005
"""Seconds between two values of the levels and formants."""
BANDWIDTHS = (60.0, 90.0, 150.0)
"""B_1, B_2, B_3, Hz."""
BANDS = ((500.0, 1500.0), (1500.0, 2800.0), (2800.0, 7500.0))
"""Bands of noise, Hz."""
TILT = 300.0
"""Frequency, Hz, from which the voice falls by 6 dB per octave."""


class Sound(NamedTuple):
    """A sound.

    Attributes:
        seconds: Length.
        voice: Level of the voice.
        noise: Level of the noise in each of `BANDS`.
        begin: F_1, F_2, F_3 at the beginning, Hz.
        end: The same at the end.
    """

    seconds: float
    voice: float
    noise: tuple[float, float, float]
    begin: tuple[float, float, float]
    end: tuple[float, float, float]


class Voice(NamedTuple):
    """A speaker.

    Attributes:
        pitch: f0, Hz.
        tract: Factor of all formants; a longer tract has lower ones.
        speed: Factor of all lengths.
        breath: Level of white noise, relative to the root mean square of the speech.
    """

    pitch: float
    tract: float
    speed: float
    breath: float


def _vowel(begin: tuple[float, float, float], end: tuple[float, float, float] | None = None, seconds: float = 0.12) -> Sound:
    return Sound(seconds, 1.0, (0.0, 0.0, 0.0), begin, end or begin)


def _consonant(
    voice: float, noise: tuple[float, float, float], formants: tuple[float, float, float], seconds: float = 0.07
) -> Sound:
    return Sound(seconds, voice, noise, formants, formants)


_SILENCE = _consonant(0.0, (0.0, 0.0, 0.0), (500.0, 1500.0, 2500.0), 0.05)
SOUNDS: dict[str, tuple[Sound, ...]] = {
    "iy": (_vowel((270.0, 2290.0, 3010.0)),),
    "ih": (_vowel((390.0, 1990.0, 2550.0), seconds=0.09),),
    "eh": (_vowel((530.0, 1840.0, 2480.0)),),
    "ah": (_vowel((640.0, 1190.0, 2390.0), seconds=0.09),),
    "ao": (_vowel((570.0, 840.0, 2410.0)),),
    "uw": (_vowel((300.0, 870.0, 2240.0), seconds=0.15),),
    "ow": (_vowel((540.0, 1000.0, 2400.0), (320.0, 850.0, 2250.0), 0.15),),
    "ay": (_vowel((730.0, 1150.0, 2440.0), (320.0, 2150.0, 2800.0), 0.18),),
    "ey": (_vowel((500.0, 1850.0, 2500.0), (300.0, 2300.0, 2900.0), 0.16),),
    "r": (_consonant(0.7, (0.0, 0.0, 0.0), (420.0, 1250.0, 1600.0)),),
    "w": (_consonant(0.7, (0.0, 0.0, 0.0), (300.0, 650.0, 2200.0)),),
    "n": (_consonant(0.4, (0.0, 0.0, 0.0), (250.0, 1500.0, 2600.0), 0.08),),
    "v": (_consonant(0.3, (0.02, 0.03, 0.06), (280.0, 1100.0, 2400.0)),),
    "z": (_consonant(0.25, (0.0, 0.03, 0.25), (280.0, 1700.0, 2600.0)),),
    "s": (_consonant(0.0, (0.0, 0.03, 0.4), (400.0, 1700.0, 2600.0), 0.1),),
    "f": (_consonant(0.0, (0.06, 0.08, 0.12), (400.0, 1100.0, 2400.0), 0.09),),
    "th": (_consonant(0.0, (0.02, 0.08, 0.1), (400.0, 1400.0, 2500.0), 0.08),),
    "t": (_SILENCE, _consonant(0.0, (0.0, 0.1, 0.45), (400.0, 1700.0, 2600.0), 0.03)),
    "k": (_SILENCE, _consonant(0.0, (0.1, 0.4, 0.05), (400.0, 1900.0, 2500.0), 0.03)),
}
"""Sounds by their names in ARPAbet."""
WORDS: dict[str, tuple[str, ...]] = {
    "zero": ("z", "ih", "r", "ow"),
    "one": ("w", "ah", "n"),
    "two": ("t", "uw"),
    "three": ("th", "r", "iy"),
    "four": ("f", "ao", "r"),
    "five": ("f", "ay", "v"),
    "six": ("s", "ih", "k", "s"),
    "seven": ("s", "eh", "v", "ah", "n"),
    "eight": ("ey", "t"),
    "nine": ("n", "ay", "n"),
}
"""Sounds of each word."""


def draw_voice(generator: Generator) -> Voice:
    """A random speaker."""
    return Voice(
        float(generator.uniform(90, 220)),
        float(generator.uniform(0.9, 1.15)),
        float(generator.uniform(0.8, 1.25)),
        float(10 ** generator.uniform(-1.6, -0.7)),
    )


def speak(words: tuple[str, ...], voice: Voice, rate: int, generator: Generator) -> Wave:
    """Words with pauses around them, float32 (S,), at most 0.9.

    Args:
        words: Of `WORDS`; any other is a random order of two to five sounds that is none of them.
        voice: The speaker.
        rate: Samples per second.
        generator: Of lengths, levels, phases and noise.
    """
    sounds = [_pause(generator)]
    for word in words:
        for name in WORDS.get(word) or _babble(generator):
            sounds += [each._replace(seconds=each.seconds * float(generator.uniform(0.85, 1.15))) for each in SOUNDS[name]]
        sounds.append(_pause(generator))
    tracks = _tracks(sounds, voice.speed)
    count = int(len(tracks) * STEP * rate)
    places = np.arange(count) / (STEP * rate)
    speech = _voiced(tracks, voice, places, rate, generator) + _noise(tracks, places, rate, generator)
    speech = speech + generator.standard_normal(count) * voice.breath * np.sqrt(np.mean(speech**2))
    peak: Wave = (speech * (generator.uniform(0.3, 0.9) / np.abs(speech).max())).astype(np.float32)
    return peak


def _babble(generator: Generator) -> tuple[str, ...]:
    """Sounds of no word."""
    while True:
        names = tuple(map(str, generator.choice(list(SOUNDS), size=int(generator.integers(2, 6)))))
        if names not in WORDS.values():
            return names


def _pause(generator: Generator) -> Sound:
    return _SILENCE._replace(seconds=float(generator.uniform(0.03, 0.12)))


def _tracks(sounds: list[Sound], speed: float) -> NDArray[np.float64]:
    """F_1, F_2, F_3, level of the voice and of each band, smoothed over 25 ms, (steps, 7)."""
    rows = []
    for sound in sounds:
        steps = max(1, round(sound.seconds / speed / STEP))
        formants = np.linspace(sound.begin, sound.end, steps)
        rows.append(np.hstack([formants, np.tile([sound.voice, *sound.noise], (steps, 1))]))
    whole = np.concatenate(rows)
    window = np.hanning(7)[1:-1]
    window /= window.sum()
    padded = np.pad(whole, ((2, 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, window, "valid") for column in padded.T], axis=1)


def _voiced(
    tracks: NDArray[np.float64], voice: Voice, places: NDArray[np.float64], rate: int, generator: Generator
) -> NDArray[np.float64]:
    """The harmonics below half of the rate, (S,)."""
    steps = np.arange(len(tracks))
    bend = np.cumsum(generator.normal(0, 0.004, len(tracks)))
    pitch = voice.pitch * (1 + np.clip(bend, -0.15, 0.15) - 0.1 * steps / len(tracks))
    phase = 2 * np.pi * np.cumsum(np.interp(places, steps, pitch)) / rate
    total = np.zeros(len(places))
    for harmonic in range(1, int(rate / 2 / pitch.max()) + 1):
        level = tracks[:, 3] * _envelope(harmonic * pitch, tracks[:, :3] * voice.tract)
        total += np.interp(places, steps, level) * np.sin(harmonic * phase + generator.uniform(0, 2 * np.pi))
    return total


def _envelope(frequency: NDArray[np.float64], formants: NDArray[np.float64]) -> NDArray[np.float64]:
    """A(f) with the fall of the voice, (steps,)."""
    level = 1.0 / np.hypot(1.0, frequency / TILT)
    for index, width in enumerate(BANDWIDTHS):
        ratio = frequency / formants[:, index]
        level = level * (0.15 + 1.0 / np.hypot(1 - ratio**2, ratio * width / formants[:, index]) / (1 + 4 * width / 60.0))
    return level


def _noise(tracks: NDArray[np.float64], places: NDArray[np.float64], rate: int, generator: Generator) -> NDArray[np.float64]:
    """Noise of all bands, (S,)."""
    steps, count = np.arange(len(tracks)), len(places)
    frequencies = np.fft.rfftfreq(count, 1 / rate)
    total = np.zeros(count)
    for index, (low, high) in enumerate(BANDS):
        spectrum = np.fft.rfft(generator.standard_normal(count))
        band = np.fft.irfft(spectrum * ((frequencies >= low) & (frequencies < high)), count)
        total += np.interp(places, steps, tracks[:, 4 + index]) * band / max(float(band.std()), 1e-9)
    return total
