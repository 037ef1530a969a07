"""The labelled training images of each class, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.data.batch import Split


@dataclass(frozen=True, eq=False)
class ClassPools:
    """Labelled images by class.

    Attributes:
        by_class: Images of each class, float32 (N_c, C, H, W), normalised, on the CPU.
        identity: Identifies the images and their selection.
    """

    by_class: tuple[Tensor, ...]
    identity: str = ""

    def draw(self, c: int, count: int, generator: torch.Generator) -> Tensor:
        """At most `count` different images of class c."""
        images = self.by_class[c]
        return images[torch.randperm(len(images), generator=generator)[:count]]

    def all(self) -> tuple[Tensor, Tensor]:
        """All images (N, C, H, W) and their classes (N,), class by class."""
        counts = torch.tensor([len(images) for images in self.by_class])
        return torch.cat(self.by_class), torch.arange(len(self.by_class)).repeat_interleave(counts)


def gather_class_pools(split: Split, classes: Sequence[str], *, at_least: int, at_most: int, seed: int) -> ClassPools:
    """Read the labelled images of a split without augmentation, at most `at_most` of each class, selected by seed.

    Args:
        split: Training samples; those without a label are left out.
        classes: Class names.
        at_least: Images that each class must have.
        at_most: Images of a class that are kept.
        seed: Seed of the selection.

    Raises:
        DataError: One class only, or one with fewer labelled images than `at_least`.
    """
    if len(classes) < 2:
        msg = gettext(
            "dataset_distillation needs two classes or more, and the data has one ({classes})", classes=", ".join(classes)
        )
        raise DataError(msg)
    inputs, labels = [], list[int]()
    selected = _select(split, len(classes), at_most, seed)
    for batch in split.ordered(256):
        mask = selected[len(labels) : len(labels) + len(batch.target)]
        inputs.append(batch.input[mask])
        labels += batch.target.tolist()
    targets = torch.tensor(labels)[selected]
    images = torch.cat(inputs)
    by_class = tuple(images[targets == c] for c in range(len(classes)))
    few = [
        gettext("{name!r} has {count}", name=name, count=len(part))
        for name, part in zip(classes, by_class, strict=True)
        if len(part) < at_least
    ]
    if few:
        more = gettext(" and {count} more classes", count=len(few) - 3) if len(few) > 3 else ""
        listed = ", ".join(few[:3]) + more
        msg = gettext(
            "dataset_distillation is asked for {at_least} images per class, and of labelled training images class {listed}; "
            "lower images_per_class, or add labelled images",
            at_least=at_least,
            listed=listed,
        )
        raise DataError(msg)
    return ClassPools(by_class, f"{split.fingerprint} {at_most} {seed}")


def _select(split: Split, classes: int, at_most: int, seed: int) -> Tensor:
    """Mask of the samples to keep, bool (N,): at most `at_most` of each class, in a random order; none without a label."""
    targets = torch.cat([batch.target for batch in split.ordered(256)])
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    keep = torch.zeros(len(targets), dtype=torch.bool)
    for c in range(classes):
        keep[order[targets[order] == c][:at_most]] = True
    return keep
