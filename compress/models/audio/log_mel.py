"""Log-mel features as a part of the network, so that every runtime computes them as training did.

audio (N, S) ─► windowed DFT by convolution ─► power (N, F, T) ─► mel filters (N, M, T) ─► logarithm
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

FLOOR = 1e-6
"""Added to the power of a band, for silence; samples are in [−1, 1]."""


def dft_kernels(window: int, last: int) -> NDArray[np.float32]:
    """Real and imaginary parts of a DFT with the window of Hann, as kernels of a convolution, (2·last, 1, window).

        X_f(t) = Σ_n w_n x_{t+n} e^{−2πi f n / window},   w_n = ½ − ½ cos(2π (n + ½) / window)

    Args:
        window: Samples of the window.
        last: Number of frequencies f = 0 … last − 1.
    """
    places = np.arange(window)
    weights = 0.5 - 0.5 * np.cos(2 * np.pi * (places + 0.5) / window)
    angles = 2 * np.pi * np.outer(np.arange(last), places) / window
    kernels = np.concatenate([np.cos(angles), -np.sin(angles)]) * weights
    return kernels[:, None].astype(np.float32)


def mel_filters(rate: int, window: int, last: int, bands: int) -> NDArray[np.float32]:
    """Triangular filters that are equally wide in mel, (bands, last), each with the sum 1.

        mel(f) = 2595 log10(1 + f / 700)        O'Shaughnessy 1987, "Speech Communication"

    A filter that is narrower than a frequency step takes the nearest one.

    Args:
        rate: Samples per second.
        window: Samples of the window of the DFT.
        last: Number of its frequencies.
        bands: Number of filters.
    """
    frequencies = np.arange(last) * rate / window
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    rows = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        row = np.clip(np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)), 0, None)
        if not row.any():
            row[np.abs(frequencies - middle).argmin()] = 1.0
        rows.append(row / row.sum())
    return np.stack(rows).astype(np.float32)


class LogMel(nn.Module):
    """Audio (N, S) in [−1, 1] → log-mel features (N, bands, ⌊S / hop⌋).

    A frame is centred in its `hop` samples; samples before the beginning and after the end are 0.

    Args:
        rate: Samples per second.
        bands: Number of mel filters.
        window: Length of the window, seconds.
        hop: Time between two frames, seconds.
        causal: Whether a frame ends with its `hop` samples, and sees none after them.
    """

    kernels: Tensor
    filters: Tensor

    def __init__(self, rate: int, bands: int, window: float, hop: float, *, causal: bool = False) -> None:
        super().__init__()
        self.hop = round(hop * rate)
        size = self.hop + 2 * max(0, round((window * rate - self.hop) / 2))
        self.before = size - self.hop if causal else (size - self.hop) // 2
        self.after = size - self.hop - self.before
        last = size // 2 + 1
        self.register_buffer("kernels", torch.from_numpy(dft_kernels(size, last)))
        self.register_buffer("filters", torch.from_numpy(mel_filters(rate, size, last, bands))[:, :, None])

    def forward(self, audio: Tensor) -> Tensor:
        """The features."""
        padded = F.pad(audio[:, None], (self.before, self.after))
        parts = F.conv1d(padded, self.kernels, stride=self.hop)
        real, imaginary = parts.chunk(2, dim=1)
        power = real * real + imaginary * imaginary
        return torch.log(F.conv1d(power, self.filters) + FLOOR)
