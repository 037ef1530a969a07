"""Small convolutional networks for CTC, as QuartzNet (Kriman et al. 2020, arXiv:1910.10261), with their features inside.

Symbols: N clips; S audio samples; T frames of the output, ⌊S / (hop · stride)⌋; C channels; K classes.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from compress.models.audio.ctc_settings import CtcSettings
from compress.models.audio.log_mel import LogMel
from compress.tasks.audio.padded_frames import blank_padding


class SeparableConv(nn.Module):
    """A depthwise convolution over time, a pointwise one, and batch norm; zeros after the end of each clip.

    Args:
        channels: C of the input.
        width: C of the output.
        kernel: Size in frames.
        stride: Frames of the input for one of the output; then the kernel is even, so that ⌊T / stride⌋ frames come out.
        dilation: Distance of the frames of the kernel.
        causal: Whether a frame sees none after it: all zeros are before the beginning.
    """

    def __init__(
        self, channels: int, width: int, kernel: int, *, stride: int = 1, dilation: int = 1, causal: bool = False
    ) -> None:
        super().__init__()
        size = kernel if stride == 1 else max(stride, kernel - (kernel - stride) % 2)
        around = dilation * (size - 1) + 1 - stride
        self.before = around if causal else 0
        self.depthwise = nn.Conv1d(
            channels,
            channels,
            size,
            stride=stride,
            padding=0 if causal else around // 2,
            dilation=dilation,
            groups=channels,
            bias=False,
        )
        self.pointwise = nn.Conv1d(channels, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (N, width, T') of (N, C, T) and the mask (N, 1, T)."""
        x = x * mask
        if self.before:
            x = F.pad(x, (self.before, 0))
        y: Tensor = self.norm(self.pointwise(self.depthwise(x)))
        return y


class SeparableBlock(nn.Module):
    """Layers of separable convolutions with a shortcut, relu(f(x) + norm(W x)).

    Args:
        width: C.
        kernel: Size in frames.
        repeats: Number of layers.
        dropout: Probability.
        causal: See `SeparableConv`.
    """

    def __init__(self, width: int, kernel: int, repeats: int, dropout: float, *, causal: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SeparableConv(width, width, kernel, causal=causal) for _ in range(repeats))
        self.shortcut = nn.Conv1d(width, width, 1, bias=False)
        self.shortcut_norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (N, C, T)."""
        y = x
        for index, layer in enumerate(self.layers):
            y = layer(self.dropout(F.relu(y)) if index else y, mask)
        shortcut: Tensor = self.shortcut_norm(self.shortcut(x))
        out: Tensor = self.dropout(F.relu(y + shortcut))
        return out


class AudioTrunk(nn.Module):
    """Audio float32 (N, S) and attention mask int64 (N, S) → features (N, C, T) and the mask of the frames (N, 1, T).

    Args:
        settings: Its sizes.
        rate: Samples per second.
    """

    def __init__(self, settings: CtcSettings, rate: int) -> None:
        super().__init__()
        width = settings.width
        self.stride = settings.stride
        causal = settings.causal
        self.features = LogMel(rate, settings.bands, settings.window, settings.hop, causal=causal)
        self.feature_norm = nn.BatchNorm1d(settings.bands)
        self.first = SeparableConv(settings.bands, width, settings.kernels[0], stride=settings.stride, causal=causal)
        self.blocks = nn.ModuleList(
            SeparableBlock(width, size, settings.repeats, settings.dropout, causal=causal) for size in settings.kernels
        )
        self.last = SeparableConv(width, width, settings.kernels[-1], dilation=2, causal=causal)
        self.dropout = nn.Dropout(settings.dropout)

    def trunk(self, audio: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features and mask."""
        windows = frame_mask(attention_mask.to(audio.dtype), self.features.hop)[:, None]
        frames = frame_mask(windows, self.stride)
        x = F.relu(self.first(self.feature_norm(self.features(audio)), windows))
        for block in self.blocks:
            x = block(x, frames)
        return self.dropout(F.relu(self.last(x, frames))), frames


class CtcNetwork(AudioTrunk):
    """Audio float32 (N, S) and attention mask int64 (N, S) → logits (N, T, K), a certain blank after the end of a clip.

    Args:
        settings: Its sizes.
        rate: Samples per second.
        outputs: K.
    """

    def __init__(self, settings: CtcSettings, rate: int, outputs: int) -> None:
        super().__init__(settings, rate)
        self.head = nn.Conv1d(settings.width, outputs, 1)

    def forward(self, audio: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        x, frames = self.trunk(audio, attention_mask)
        return blank_padding(self.head(x).transpose(1, 2), frames[:, 0])


class AudioClassifier(AudioTrunk):
    """Audio float32 (N, S) and attention mask int64 (N, S) → logits (N, K), from the mean over the frames of each clip.

    Args:
        settings: Its sizes.
        rate: Samples per second.
        outputs: K.
    """

    def __init__(self, settings: CtcSettings, rate: int, outputs: int) -> None:
        super().__init__(settings, rate)
        self.head = nn.Linear(settings.width, outputs)

    def forward(self, audio: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        x, frames = self.trunk(audio, attention_mask)
        logits: Tensor = self.head((x * frames).sum(2) / frames.sum(2))
        return logits


def frame_mask(mask: Tensor, step: int) -> Tensor:
    """Every `step`-th value of the last axis: 1 for a frame whose samples are all of the clip."""
    return mask[..., step - 1 :: step] if step > 1 else mask
