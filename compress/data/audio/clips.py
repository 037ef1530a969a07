"""Clips of audio in memory, 16 bits per sample, and their padding to the longest of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.data.audio.settings import AUDIO, MASK
from compress.data.stratified import Indices

SCALE = 32_767
"""Integer of the sample 1.0."""


@dataclass(frozen=True, eq=False)
class Clips:
    """N clips, one after the other.

    Attributes:
        values: All samples times `SCALE`, int16 (T,).
        offsets: Start of each clip, and T, int64 (N + 1,).
    """

    values: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, clips: Sequence[NDArray[np.float32]]) -> Clips:
        """Clips of samples in [−1, 1]; others are clipped there."""
        whole = [np.rint(np.clip(clip, -1.0, 1.0) * SCALE).astype(np.int16) for clip in clips]
        offsets = np.cumsum([0, *map(len, whole)], dtype=np.int64)
        return cls(torch.from_numpy(np.concatenate(whole) if whole else np.zeros(0, np.int16)), torch.from_numpy(offsets))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """Samples of each clip, int64 (N,)."""
        return self.offsets[1:] - self.offsets[:-1]

    def row(self, index: int) -> Tensor:
        """One clip, int16 (S,)."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def select(self, rows: Indices) -> Clips:
        """These clips."""
        chosen = [self.row(int(row)) for row in rows]
        lengths = np.cumsum([0, *map(len, chosen)], dtype=np.int64)
        return Clips(torch.cat(chosen) if chosen else self.values[:0], torch.from_numpy(lengths))

    def waves(self, rows: Tensor) -> list[Tensor]:
        """These clips, each float32 (S,) in [−1, 1]."""
        return [self.row(int(row)).float() / SCALE for row in rows]


def padded_waves(waves: Sequence[Tensor]) -> dict[str, Tensor]:
    """Inputs of these clips, padded with zeros to the longest: `audio` float32 (R, S), `attention_mask` int64 (R, S)."""
    lengths = torch.tensor([len(wave) for wave in waves])
    audio = torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
    return {AUDIO: audio, MASK: (torch.arange(audio.shape[1]) < lengths[:, None]).long()}
