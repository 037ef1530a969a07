"""Batch and split: the interface of data sources. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from compress.core.errors import DataError
from compress.core.language import gettext

if TYPE_CHECKING:
    import torch
    from torch import Tensor


UNLABELLED = -100
"""The target of a sample without a label; torch's cross-entropy ignores it."""
IGNORED = 255
"""Class index of ignored pixels in masks of Pascal VOC, Cityscapes and ADE20K."""

Tensors = Mapping[str, "Tensor"]
"""Named tensors of a batch, each (N, …)."""

INPUT, TARGET = "input", "target"
"""Default names of the only input and the only target."""
SPLITS = ("training", "validation", "test")
"""Names of the splits in messages, in their order."""
BYTES = "bytes"
"""Name of the target with the bytes of UTF-8 that the predicted tokens of each sample stand for, int64 (N,)."""


class Batch(NamedTuple):
    """A batch of N samples.

    Attributes:
        inputs: Inputs of the network, by the names of its signature.
        targets: Targets of the loss and the metrics, by names that the task defines.
        samples: Index of each sample in its split, int64 (N,); None for a loader without indices.
        views: Index of the augmented view of each sample, int64 (N,); None for a loader without indices.
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
        """The only input, for image classifiers float32 (N, C, H, W), normalised.

        Raises:
            DataError: There are several.
        """
        return _only(self.inputs, "inputs")

    @property
    def target(self) -> Tensor:
        """The only target, for classification int64 (N,), `UNLABELLED` without a label.

        Raises:
            DataError: There are several.
        """
        return _only(self.targets, "targets")

    @property
    def device(self) -> torch.device:
        """Device of the inputs."""
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
        msg = gettext(
            "this needs a network with one of its {kind}; the data has {tensors}",
            kind=kind,
            tensors=", ".join(tensors) or "none",
        )
        raise DataError(msg)
    return next(iter(tensors.values()))


class Split(Protocol):
    """Train, validation or test: a fixed list of samples.

    Attributes:
        fingerprint: Hash of its contents and transforms; equal fingerprints give equal batches.
        views: Number of views of a sample in training, at least 1; None if the source has no numbered views
            (a user's loader with its own augmentation), so that teacher logits cannot be cached.
    """

    fingerprint: str
    views: int | None

    def __len__(self) -> int:
        """Number of samples."""

    def ordered(self, batch_size: int) -> Iterable[Batch]:
        """Every sample once, in order, not augmented; the last batch may be smaller."""

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterable[Batch]:
        """Shuffled and augmented batches of one epoch, every sample once, equal for equal arguments, also across processes.

        Epoch `e` shows view `e mod views` of each sample. A last batch of one sample, too small for batch norm, is skipped.
        """

    def view(self, number: int, batch_size: int) -> Iterable[Batch]:
        """Every sample once, in order, augmented as in view `number`; teacher logits are computed on these."""

    def batches(self, batch_size: int) -> int:
        """Number of batches in an epoch."""
