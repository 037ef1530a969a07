"""Batch and split: what a data source gives to everything that trains, tunes or measures. Light."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from compress.core.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


UNLABELLED = -100
"""The target of a sample without a label; torch's cross-entropy leaves it out."""
IGNORED = 255
"""Class number of pixels that do not count, in masks of Pascal VOC, Cityscapes and ADE20K."""

Tensors = Mapping[str, "Tensor"]
"""Named tensors of a batch, each (N, …)."""

INPUT, TARGET = "input", "target"
"""Names of the input and the target of a network that has one of each."""


class Batch(NamedTuple):
    """One batch of N samples.

    Attributes:
        inputs: What the network takes, by the names of its signature.
        targets: What the task's loss and metrics compare the outputs with, by names that the task defines.
        samples: Index of each sample in its split, int64 (N,); None from a loader that does not tell.
        views: Number of the augmented view of each sample, int64 (N,); None likewise.
    """

    inputs: Tensors
    targets: Tensors
    samples: Tensor | None = None
    views: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, y: Tensor, samples: Tensor | None = None, views: Tensor | None = None) -> Batch:
        """A batch of one input x and one target y."""
        return cls({INPUT: x}, {TARGET: y}, samples, views)

    @property
    def size(self) -> int:
        """N, the number of samples."""
        return len(next(iter(self.inputs.values())))

    @property
    def input(self) -> Tensor:
        """The input of a network that has one: of classifiers float32 (N, C, H, W), normalised.

        Raises:
            DataError: There are several.
        """
        return _only(self.inputs, "inputs")

    @property
    def target(self) -> Tensor:
        """The target of a task that has one: of classification int64 (N,), `UNLABELLED` where the label is withheld.

        Raises:
            DataError: There are several.
        """
        return _only(self.targets, "targets")

    @property
    def device(self) -> torch.device:
        """Where its inputs are."""
        return next(iter(self.inputs.values())).device

    def to(self, device: torch.device | str) -> Batch:
        """The batch with inputs and targets on a device."""
        return self._replace(
            inputs={name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            targets={name: tensor.to(device, non_blocking=True) for name, tensor in self.targets.items()},
        )

    def rows(self, index: slice | Tensor) -> Batch:
        """The selected samples."""
        return Batch(
            select_rows(self.inputs, index),
            select_rows(self.targets, index),
            None if self.samples is None else self.samples[index],
            None if self.views is None else self.views[index],
        )


def select_rows(tensors: Tensors, index: slice | Tensor) -> Tensors:
    """The selected samples of named tensors."""
    return {name: tensor[index] for name, tensor in tensors.items()}


def _only(tensors: Tensors, kind: str) -> Tensor:
    if len(tensors) != 1:
        msg = f"this needs a network with one of its {kind}; the data has {', '.join(tensors) or 'none'}"
        raise DataError(msg)
    return next(iter(tensors.values()))


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
