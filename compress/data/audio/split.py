"""`AudioSplit`: clips with targets, in batches that are padded to their longest clip."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.core.seed_of import seed_of
from compress.data.audio.augment import augment
from compress.data.audio.clips import Clips, padded_waves
from compress.data.audio.settings import AudioAugmentation
from compress.data.batch import TARGET, Batch
from compress.data.stratified import Indices
from compress.data.text.buckets import bucketed_batches
from compress.data.text.ragged import Ragged
from compress.data.text.settings import DECODER_IDS


@dataclass(frozen=True)
class ClipChanges:
    """How the clips of a split are changed.

    Attributes:
        settings: What is changed.
        rate: Samples per second.
        seed: Of all changes.
    """

    settings: AudioAugmentation
    rate: int
    seed: int

    def apply(self, wave: NDArray[np.float32], index: int, view: int) -> NDArray[np.float32]:
        """A clip in one of its views.

        Args:
            wave: Samples.
            index: Number of the clip.
            view: Number of the view.
        """
        return augment(wave, self.settings, self.rate, self.seed, index, view)


class AudioSplit:
    """Clips of a split. See `compress.data.batch.Split` for the interface.

    Args:
        clips: The clips.
        target: Classes of the characters of each transcript, rows of different lengths, or one class for each clip, (N,).
        names: File of each clip for messages.
        augmentation: How clips are changed in training; None for as they are.
        read: Tokens that the decoder of a network reads; None for networks without one.
    """

    views: int | None

    def __init__(
        self,
        clips: Clips,
        target: Ragged | Tensor,
        names: Sequence[str],
        augmentation: ClipChanges | None = None,
        *,
        read: Ragged | None = None,
    ) -> None:
        self.clips, self.target, self._names, self.augmentation = clips, target, names, augmentation
        self.read = read
        self.views = 1 if augmentation is None else augmentation.settings.views
        digest = hashlib.sha256(repr(augmentation).encode())
        parts = (target.values, target.offsets) if isinstance(target, Ragged) else (target,)
        for tensor in (clips.values, clips.offsets, *parts):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def labels(self) -> Indices | None:
        """Class of each clip, int64 (N,), negative without a label; None for transcripts."""
        return None if isinstance(self.target, Ragged) else self.target.numpy().astype(np.int64)

    def sizes(self) -> Indices:
        """A checksum of the samples of each clip, (N,)."""
        return np.array([zlib.crc32(self._bytes(index)) for index in range(len(self))], dtype=np.int64)

    def contents(self, index: int) -> bytes:
        """Hash of the samples."""
        return hashlib.sha256(self._bytes(index)).digest()

    def name(self, index: int) -> str:
        """File of the clip."""
        return self._names[index]

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
        whole, rest = divmod(len(self), batch_size)
        return whole + (rest > 1)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every clip once, in order, last batch short."""
        return (self._batch(samples) for samples in torch.split(torch.arange(len(self)), batch_size))

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:
        """Every clip once, in order, changed as in this view."""
        for samples in torch.split(torch.arange(len(self)), batch_size):
            yield self._batch(samples, number)._replace(views=torch.full_like(samples, number))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Batches of clips of similar lengths, in a random order; a rest of one clip is left out."""
        view = number % (self.views or 1)
        for samples in bucketed_batches(self.clips.lengths, batch_size, seed_of("order", seed, number)):
            yield self._batch(samples, view)._replace(views=torch.full_like(samples, view))

    def _bytes(self, index: int) -> bytes:
        return self.clips.row(index).numpy().tobytes()

    def _batch(self, samples: Tensor, view: int | None = None) -> Batch:
        target = self.target.padded(samples) if isinstance(self.target, Ragged) else self.target[samples]
        waves = self.clips.waves(samples)
        if self.augmentation is not None and view is not None:
            each = zip(waves, samples.tolist(), strict=True)
            waves = [torch.from_numpy(self.augmentation.apply(wave.numpy(), index, view)) for wave, index in each]
        inputs = padded_waves(waves)
        if self.read is not None:
            inputs[DECODER_IDS] = self.read.padded(samples)
        return Batch(inputs, {TARGET: target}, samples)
