"""Batch and split: what a data source gives to everything that trains, tunes or measures. Light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


UNLABELLED = -100
"""The target of a sample without a label; torch's cross-entropy leaves it out."""


class Batch(NamedTuple):
    """One batch.

    Attributes:
        inputs: Float32 (N, C, H, W), normalised.
        targets: Int64 (N,); `UNLABELLED` where the label is withheld.
        samples: Index of each sample in its split, int64 (N,); None from a loader that does not tell.
        views: Number of the augmented view of each sample, int64 (N,); None likewise.
    """

    inputs: Tensor
    targets: Tensor
    samples: Tensor | None = None
    views: Tensor | None = None


class Split(Protocol):
    """Train, validation or test: a fixed list of samples.

    Attributes:
        fingerprint: Hash of its contents and transforms; equal fingerprints give equal batches.
        views: Views that a sample cycles through in training, at least 1; None when the source cannot tell views apart
            (a user's own loader that augments as it likes), so that teacher answers must not be kept.
    """

    fingerprint: str
    views: int | None

    def __len__(self) -> int:
        """Number of samples."""

    def ordered(self, batch_size: int) -> Iterable[Batch]:
        """Every sample once, in order, not augmented, last batch short."""

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterable[Batch]:
        """Shuffled and augmented batches of one epoch, every sample once, equal for equal arguments, also across processes.

        Epoch `e` shows view `e mod views` of each sample. A rest too small for batch norm (one sample) is left out.
        """

    def view(self, number: int, batch_size: int) -> Iterable[Batch]:
        """Every sample once, in order, as augmented in view `number`: what teacher answers are computed on."""

    def batches(self, batch_size: int) -> int:
        """How many batches `epoch` gives."""
