"""Decoding of audio files: one implementation for training data and for the `infer.py` of an artifact.

    file ─► all samples in [−1, 1] ─► one channel ─► resampled to the rate of the network

Formats are those of libsndfile: FLAC, WAV, OGG, MP3 and others. Imports no torch: `compress.export.infer_audio` copies all
lines below the marker.
"""

from __future__ import annotations

from math import gcd
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile

# --- copied into infer.py from here on ---
LEAST_RATE, MOST_RATE = 1000, 768_000
"""Sampling rates that a header may give, Hz."""


def read_audio(path: str | PathLike[str], rate: int) -> np.ndarray:
    """An audio file as float32 (S,), one channel of `rate` samples per second.

    Raises:
        ValueError: The file cannot be decoded, has no samples, or its header gives a rate that cannot be.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        try:
            samples, own_rate = soundfile.read(file, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, TypeError) as error:
            raise ValueError(f"no audio that libsndfile reads ({error})") from error
    if not LEAST_RATE <= own_rate <= MOST_RATE:
        raise ValueError(f"its header gives {own_rate} samples per second; write the right rate into it")
    if not len(samples):
        raise ValueError("it has no samples")
    return resample(to_mono(samples), own_rate, rate)


def to_mono(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels that are not silent, float32 (S,); an empty channel would halve the others.

    Args:
        samples: (S, channels).
    """
    heard = np.abs(samples).max(axis=0) > 0
    mono: np.ndarray = (samples[:, heard] if heard.any() else samples).mean(axis=1)
    return mono


def resample(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Samples at another rate by a polyphase filter, float32 (S,); as they are where the rates are equal."""
    if own_rate == rate:
        return samples
    from scipy.signal import resample_poly

    common = gcd(own_rate, rate)
    other: np.ndarray = resample_poly(samples, rate // common, own_rate // common).astype(np.float32)
    return other
