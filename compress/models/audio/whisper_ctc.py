"""The encoder of Whisper (Radford et al. 2022, arXiv:2212.04356) with a CTC head, and with its log-mel features inside.

    audio (N, S) ─► log-mel (N, M, 2T) ─► two convolutions ─► positions, layers ─► (N, T, D) ─► head ─► logits (N, T, K)

A frame is 20 ms. The encoder was trained on clips that are filled to 30 seconds; here it runs on the frames of the clips alone,
and so takes less time for a shorter clip. The head is new, so the network is trained on the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.audio.ctc_network import frame_mask
from compress.tasks.audio.padded_frames import NEVER, blank_padding

if TYPE_CHECKING:
    from transformers import PretrainedConfig

WHISPER = "whisper"
"""The `model_type` of its configurations."""
RATE = 16_000
"""Samples per second of the audio that Whisper was trained on."""
RATES = (8_000, RATE)
"""Rates of data that it takes."""
WINDOW_S, HOP_S = 0.025, 0.01
"""Length of a window of the spectrum and time between two, seconds."""
FLOOR, RANGE = 1e-10, 8.0
"""Least power of a band, and decades below the loudest band of the clip that are kept."""


class WhisperFeatures(nn.Module):
    """Audio (N, S) → log-mel features as of Whisper's own preprocessing, (N, M, 2⌊S / 2h⌋), h = 10 ms.

        m = max(log10 max(filters · |X|², 10⁻¹⁰), max m − 8),   features = (m + 4) / 4

    The spectrum X of a window of 25 ms at 8 kHz has the frequencies up to 4 kHz of that at 16 kHz with half of its amplitude;
    so the features of such audio are those of the audio resampled to 16 kHz.

    Args:
        filters: Mel filters at 16 kHz, (201, M).
        rate: Samples per second, one of `RATES`.
    """

    kernels: Tensor
    filters: Tensor

    def __init__(self, filters: NDArray[np.float64], rate: int) -> None:
        super().__init__()
        self.window, self.hop = round(WINDOW_S * rate), round(HOP_S * rate)
        bins = self.window // 2 + 1
        places = np.arange(self.window)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * places / self.window)
        angles = 2 * np.pi * np.outer(np.arange(bins), places) / self.window
        kernels = np.concatenate([np.cos(angles), -np.sin(angles)]) * hann * (RATE / rate)
        self.register_buffer("kernels", torch.from_numpy(kernels[:, None].astype(np.float32)))
        self.register_buffer("filters", torch.from_numpy(filters[:bins].T.astype(np.float32))[:, :, None])

    def forward(self, audio: Tensor) -> Tensor:
        """The features."""
        before, after = self.window // 2, self.window // 2
        padded = F.pad(F.pad(audio[:, None], (before, 0), mode="reflect"), (0, after))
        real, imaginary = F.conv1d(padded, self.kernels, stride=self.hop).chunk(2, dim=1)
        power = F.conv1d(real * real + imaginary * imaginary, self.filters)
        count = audio.shape[1] // (2 * self.hop) * 2
        m = torch.log10(power.clamp_min(FLOOR))[..., :count]
        loudest = m.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(m, loudest - RANGE) + 4.0) / 4.0


class WhisperCtc(nn.Module):
    """Audio float32 (N, S) and attention mask int64 (N, S) → logits (N, T, K), a certain blank after the end of a clip.

    Args:
        encoder: A `WhisperEncoder` of transformers.
        rate: Samples per second.
        outputs: K.
    """

    def __init__(self, encoder: nn.Module, rate: int, outputs: int) -> None:
        super().__init__()
        self.encoder: Any = encoder
        config: Any = encoder.config
        self.features = WhisperFeatures(mel_filters_of(int(config.num_mel_bins)), rate)
        self.head: nn.Module = nn.Linear(int(config.d_model), outputs)

    def states(self, audio: Tensor, attention_mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """Input of the first layer and the output of each, (N, T, D), and the mask of the frames, (N, T).

        Args:
            audio: (N, S).
            attention_mask: (N, S).
        """
        frames = frame_mask(attention_mask.to(audio.dtype), 2 * self.features.hop)
        windows = torch.stack([frames, frames], dim=2).flatten(1)[:, None]
        encoder = self.encoder
        inner = F.gelu(encoder.conv1(self.features(audio) * windows)) * windows
        x = F.gelu(encoder.conv2(inner)).transpose(1, 2)
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        unseen = ((1.0 - frames) * NEVER)[:, None, None, :]
        found = [x]
        for layer in encoder.layers:
            x = layer(x, unseen)
            found.append(x)
        found[-1] = encoder.layer_norm(x)
        return found, frames

    def forward(self, audio: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        states, frames = self.states(audio, attention_mask)
        return blank_padding(self.head(states[-1]), frames)


def check_whisper(config: PretrainedConfig, spec: NetworkSpec, name: str) -> None:
    """Check that the data are audio of a rate and of lengths that the encoder takes.

    Args:
        config: Of the network.
        spec: Of the data.
        name: Names it in messages.

    Raises:
        ModelError: They are not.
    """
    rate = None if spec.audio is None else spec.audio.rate
    if rate not in RATES:
        msg = gettext(
            "hf:{name} takes audio of {rates} samples per second, the data have {own}; set data.audio.rate",
            name=name,
            rates=gettext(" or ").join(map(str, RATES)),
            own=rate or gettext("none"),
        )
        raise ModelError(msg)
    most = 2 * HOP_S * int(config.max_source_positions)
    longest = max(each.most for each in spec.signature.sizes.values()) / rate
    if longest > most:
        msg = gettext(
            "hf:{name} takes clips of at most {most:g} s, the data have up to {longest:g} s; set data.audio.most",
            name=name,
            most=most,
            longest=longest,
        )
        raise ModelError(msg)


def mel_filters_of(bands: int) -> NDArray[np.float64]:
    """Mel filters at 16 kHz, (201, bands)."""
    from transformers import WhisperFeatureExtractor

    filters: NDArray[np.float64] = np.asarray(WhisperFeatureExtractor(feature_size=bands).mel_filters)
    return filters
