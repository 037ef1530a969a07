"""The labelled training images of each class, in memory, to draw from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.data.interface import Split


@dataclass(frozen=True, eq=False)
class Real:
    """Labelled images by class.

    Attributes:
        by_class: Images of each class, float32 (N_c, C, H, W), normalised, on the CPU.
        identity: Of the images and how they were drawn.
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


def gather(split: Split, classes: Sequence[str], *, least: int, most: int, seed: int) -> Real:
    """Read the labelled images of a split, not augmented, at most `most` of each class, drawn by seed.

    Args:
        split: Training samples; those without a label are left out.
        classes: Names.
        least: Images that each class must have.
        most: Images of a class that are kept.
        seed: Of the draw.

    Raises:
        DataError: One class only, or one with fewer labelled images than `least`.
    """
    if len(classes) < 2:
        msg = f"dataset_distillation needs two classes or more, and the data has one ({', '.join(classes)})"
        raise DataError(msg)
    inputs, labels = [], list[int]()
    chosen = _chosen(split, len(classes), most, seed)
    for batch in split.ordered(256):
        kept = chosen[len(labels) : len(labels) + len(batch.targets)]
        inputs.append(batch.inputs[kept])
        labels += batch.targets.tolist()
    targets = torch.tensor(labels)[chosen]
    images = torch.cat(inputs)
    found = tuple(images[targets == c] for c in range(len(classes)))
    few = [f"{name!r} has {len(part)}" for name, part in zip(classes, found, strict=True) if len(part) < least]
    if few:
        more = f" and {len(few) - 3} more classes" if len(few) > 3 else ""
        listed = ", ".join(few[:3]) + more
        msg = (
            f"dataset_distillation is asked for {least} images a class, and of labelled training images class {listed}; "
            "lower images_per_class, or add labelled images"
        )
        raise DataError(msg)
    return Real(found, f"{split.fingerprint} {most} {seed}")


def _chosen(split: Split, classes: int, most: int, seed: int) -> Tensor:
    """Which samples to keep, bool (N,): of each class `most`, spread by seed; none without a label."""
    targets = torch.cat([batch.targets for batch in split.ordered(256)])
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    keep = torch.zeros(len(targets), dtype=torch.bool)
    for c in range(classes):
        keep[order[targets[order] == c][:most]] = True
    return keep
