"""Decoding of audio files: one implementation for training data and for the `infer.py` of an artifact.

    file ─► all samples in [−1, 1] ─► one channel ─► resampled to the rate of the network

Formats are those of libsndfile: FLAC, WAV, OGG, MP3 and others. Imports no torch: `compress.export.infer_audio` copies all
lines below the marker.
"""

from __future__ import annotations

import os
from math import gcd
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile

# --- copied into infer.py from here on ---
LEAST_RATE, MOST_RATE = 1000, 768_000
"""Sampling rates that a header may give, Hz."""
BLOCK, LONGEST = 2**18, 2**29
"""Samples that are read at once, and the most of all channels of a file, 2 GiB in memory."""


def read_audio(path: str | PathLike[str], rate: int) -> np.ndarray:
    """An audio file as float32 (S,) in [−1, 1], one channel of `rate` samples per second; louder samples are clipped.

    Raises:
        ValueError: The file cannot be decoded, has no samples, too many, or samples that are no numbers, or its header
            gives a rate that cannot be.
        OSError: The file cannot be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No such file: {path}")
    with Path(path).open("rb"):  # soundfile does not tell a file that may not be read from one that is no audio
        pass
    try:
        with soundfile.SoundFile(os.fspath(path)) as audio:
            own_rate, samples = audio.samplerate, read_blocks(audio)
    except (soundfile.LibsndfileError, TypeError) as error:
        raise ValueError(f"no audio that libsndfile reads ({getattr(error, 'error_string', error)})") from error
    if not LEAST_RATE <= own_rate <= MOST_RATE:
        raise ValueError(f"its header gives {own_rate} samples per second; write the right rate into it")
    if not len(samples):
        raise ValueError("it has no samples")
    if not np.isfinite(samples).all():
        raise ValueError("it has samples that are no finite numbers; write it again")
    clip: np.ndarray = np.clip(resample(to_mono(samples), own_rate, rate), -1.0, 1.0)
    return clip


def read_blocks(audio: soundfile.SoundFile) -> np.ndarray:
    """All samples of an open file, float32 (S, channels), whatever number of them its header gives.

    Raises:
        ValueError: It has more than `LONGEST`.
    """
    blocks = [np.zeros((0, audio.channels), np.float32)]
    for _ in range(LONGEST // (BLOCK * audio.channels) + 1):
        block = audio.read(BLOCK, dtype="float32", always_2d=True)
        blocks.append(block)
        if len(block) < BLOCK:
            return np.concatenate(blocks)
    raise ValueError(f"it has more than {LONGEST:,} samples; cut it")


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
