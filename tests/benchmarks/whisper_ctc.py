"""A head of convolutions on all layers of the frozen encoder of Whisper, as the teacher of small networks.

    compress: source: python:tests/benchmarks/whisper_ctc.py:network, args: {folder: WHISPER, head: HEAD.safetensors}

Symbols: N clips; S samples; T frames of 20 ms; L states of the encoder; D its channels; K classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperModel

from compress.core.network_spec import NetworkSpec
from compress.models.audio.whisper_ctc import WhisperCtc
from compress.tasks.audio.padded_frames import blank_padding


class Head(nn.Module):
    """States of all layers (N, L, T, D) → logits (N, T, K).

    The states are summed with learned weights (Yang et al. 2021, SUPERB, arXiv:2105.01051); two residual convolutions over
    time follow.

    Args:
        layers: L.
        channels: D.
        outputs: K.
    """

    def __init__(self, layers: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.convolutions = nn.ModuleList(nn.Conv1d(channels, channels, 7, padding=3, groups=6) for _ in range(2))
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(channels, outputs)

    def forward(self, states: Tensor, frames: Tensor) -> Tensor:
        """Logits of the states and the mask of the frames, (N, T)."""
        weights = self.weights.softmax(0)[None, :, None, None]
        x = self.norms[2]((F.layer_norm(states, states.shape[-1:]) * weights).sum(1))
        for norm, convolution in zip(self.norms, self.convolutions, strict=False):
            inner = (norm(x) * frames[..., None]).transpose(1, 2)
            x = x + self.dropout(F.gelu(convolution(inner)).transpose(1, 2))
        logits: Tensor = self.out(self.dropout(x))
        return logits


class WhisperTeacher(WhisperCtc):
    """`WhisperCtc` with a frozen encoder and this head.

    Args:
        folder: A Whisper network of transformers.
        rate: Samples per second.
        outputs: K.
    """

    def __init__(self, folder: str, rate: int, outputs: int) -> None:
        encoder = WhisperModel.from_pretrained(folder).encoder.requires_grad_(False)
        super().__init__(encoder, rate, outputs)
        self.head = Head(encoder.config.encoder_layers + 1, encoder.config.d_model, outputs)

    def stacked(self, audio: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, L, T, D) and the mask of the frames."""
        with torch.no_grad():
            states, frames = self.states(audio, attention_mask)
        return torch.stack(states, dim=1), frames

    def forward(self, audio: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        states, frames = self.stacked(audio, attention_mask)
        return blank_padding(self.head(states, frames), frames)


def network(
    folder: str, num_classes: int, spec: NetworkSpec | None = None, head: str | None = None, rate: int = 8000
) -> nn.Module:
    """The network for the rate of the data, or `rate`, with a trained head where `head` names its weights."""
    made = WhisperTeacher(folder, spec.audio.rate if spec is not None and spec.audio is not None else rate, num_classes)
    if head is not None:
        made.head.load_state_dict(load_file(Path(head)))
    return made
