"""`AudioSplit`: clips with targets, in batches that are padded to their longest clip."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from compress.core.seed_of import seed_of
from compress.data.audio.clips import Clips, padded_waves
from compress.data.batch import TARGET, Batch
from compress.data.stratified import Indices
from compress.data.text.buckets import bucketed_batches
from compress.data.text.ragged import Ragged


class AudioSplit:
    """Clips of a split. See `compress.data.batch.Split` for the interface.

    Args:
        clips: The clips.
        target: Classes of the characters of each transcript, rows of different lengths, or one class for each clip, (N,).
        names: File of each clip for messages.
    """

    views: int | None = 1

    def __init__(self, clips: Clips, target: Ragged | Tensor, names: Sequence[str]) -> None:
        self.clips, self.target, self._names = clips, target, names
        digest = hashlib.sha256()
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
        """Every clip once, in order."""
        for batch in self.ordered(batch_size):
            assert batch.samples is not None  # noqa: S101  # as made below
            yield batch._replace(views=torch.full_like(batch.samples, number))

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """Batches of clips of similar lengths, in a random order; a rest of one clip is left out."""
        for samples in bucketed_batches(self.clips.lengths, batch_size, seed_of("order", seed, number)):
            yield self._batch(samples)._replace(views=torch.zeros_like(samples))

    def _bytes(self, index: int) -> bytes:
        return self.clips.row(index).numpy().tobytes()

    def _batch(self, samples: Tensor) -> Batch:
        target = self.target.padded(samples) if isinstance(self.target, Ragged) else self.target[samples]
        return Batch(padded_waves(self.clips.waves(samples)), {TARGET: target}, samples)
