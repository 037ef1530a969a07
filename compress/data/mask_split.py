"""`MaskSplit`: images with masks; reading, transforms, cache and order are those of `ImageSplit`.

Image and mask are one tensor uint8 (C + 1, h, w) until a batch is built.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from compress.data.batch import IGNORED, UNLABELLED, Batch
from compress.data.image_split import ImageSplit
from compress.data.stratified import Indices

MOST_CLASSES = 255
"""Largest number of classes: a mask has 8 bits, and 255 is `IGNORED`."""


@dataclass(frozen=True, eq=False)
class MaskArrays:
    """Images and masks in memory, uint8 (N, C + 1, h, w), the mask last.

    Attributes:
        samples: The tensors.
        labels: Zeros (N,): a sample has no class of its own.
        digest: Hash of the contents.
    """

    samples: Tensor
    labels: Indices = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.zeros(len(self.samples), dtype=np.int64))
        digest = hashlib.sha256(str(tuple(self.samples.shape)).encode())
        digest.update(np.ascontiguousarray(self.samples.numpy()).data)
        object.__setattr__(self, "digest", digest.hexdigest())

    @property
    def channels(self) -> int:
        """C + 1."""
        return self.samples.shape[1]

    def read(self, index: int) -> Tensor:
        """One sample, uint8 (C + 1, h, w)."""
        return self.samples[index]

    def sizes(self) -> Indices:
        """Sum of the pixels of each sample."""
        return self.samples.flatten(1).sum(1, dtype=torch.int64).numpy()

    def contents(self, index: int) -> bytes:
        """Hash of the sample."""
        return hashlib.sha256(self.samples[index].numpy().tobytes()).digest()

    def name(self, index: int) -> str:
        """Number of the sample."""
        return f"number {index}"


class MaskSplit(ImageSplit):
    """A fixed list of images with masks; targets are int64 (N, H, W), `UNLABELLED` where a pixel does not count."""

    def make_batch(self, samples: Tensor, pixels: Tensor, views: Tensor | None) -> Batch:
        """A batch of transformed samples, uint8 (N, C + 1, H, W)."""
        target = pixels[:, -1].long()
        target.masked_fill_(target == IGNORED, UNLABELLED)
        target[self._labels[samples] == UNLABELLED] = UNLABELLED
        return Batch.of(self.normalise(pixels[:, :-1]), target, samples, views)
