"""Construction of `Data` from raw images: limits, normalisation, the three splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import Resize, image_spec
from compress.data.augment import AUGMENTATIONS, EvaluationTransform
from compress.data.image_split import ImageArrays, ImageSplit, ImageTransforms, Reader
from compress.data.interface import Data
from compress.data.settings import DataSettings
from compress.data.split_checks import check_image_counts, find_copies, find_missing_classes
from compress.data.stratified import Indices, balanced_subset

ArrayPart = tuple[Tensor, Indices]
"""Images uint8 (N, C, h, w) and labels int64 (N,) of one split."""


def from_arrays(
    train: ArrayPart,
    validation: ArrayPart,
    test: ArrayPart,
    *,
    classes: Sequence[str],
    settings: DataSettings,
    resize: Resize = "squash",
) -> Data:
    """`Data` over images in memory, normalised by mean and standard deviation of the training images.

    Args:
        train: Training images and labels.
        validation: Validation images and labels.
        test: Test images and labels.
        classes: Class names.
        settings: The `data:` block of the recipe.
        resize: How images are (or were) scaled to the input.

    Raises:
        DataError: A split is empty, or there are fewer than two classes.
    """
    parts = [train, validation, test]
    limits = (settings.limit, settings.evaluation_limit, settings.evaluation_limit)
    readers = []
    for (images, labels), limit in zip(parts, limits, strict=True):
        subset = balanced_subset(labels, limit, settings.seed)
        readers.append(ImageArrays(_fit_channels(images[torch.from_numpy(subset)], settings.channels), labels[subset]))
    mean, std = channel_moments(readers[0].images, settings.channels)
    return build_image_data(readers, resize=resize, mean=mean, std=std, classes=classes, settings=settings)


def build_image_data(
    readers: Sequence[Reader],
    *,
    resize: Resize,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: Sequence[str],
    settings: DataSettings,
    skipped: tuple[Fact, ...] = (),
) -> Data:
    """`Data` over the readers of train, validation and test.

    Raises:
        DataError: A split is empty, or there are fewer than two classes.
    """
    _check(readers, classes, settings)
    size, augment = settings.size, AUGMENTATIONS.get(settings.augment)
    plain = EvaluationTransform(size, resize)
    augmented = None if augment is None else augment(size, plain)
    transforms = ImageTransforms(size, plain, augmented, settings.views, settings.seed, mean, std, settings.workers)
    still = replace(transforms, augmented=None, views=1)
    train, validation, test = readers
    return Data(
        spec=image_spec(
            channels=settings.channels, height=size[0], width=size[1], mean=mean, std=std, classes=tuple(classes), resize=resize
        ),
        train=ImageSplit(train, transforms, withheld=_withheld(train, settings)),
        validation=ImageSplit(validation, still),
        test=ImageSplit(test, still),
        source=settings.source,
        skipped=skipped,
        warnings=(
            *find_copies(train, validation, test),
            *find_missing_classes({"validation": validation.labels, "test": test.labels}, classes),
        ),
    )


def channel_moments(images: Tensor, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels in [0, 1], per channel, to four digits.

    Args:
        images: uint8 (N, C, h, w).
        channels: Channels of the network's input; all have the values of a grey image.
    """
    levels = np.arange(256) / 255
    moments = []
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].reshape(-1).numpy(), minlength=256)
        mean = float(counts @ levels / max(counts.sum(), 1))
        variance = float(counts @ (levels - mean) ** 2 / max(counts.sum(), 1))
        moments.append((round(mean, 4), max(round(variance**0.5, 4), 1e-3)))
    per_channel = moments * channels if len(moments) == 1 else moments
    return tuple(mean for mean, _ in per_channel), tuple(std for _, std in per_channel)


def _fit_channels(images: Tensor, channels: int) -> Tensor:
    return rgb_to_grey(images) if channels == 1 and images.shape[1] == 3 else images


def rgb_to_grey(images: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in Pillow's integer arithmetic, so that arrays and files give equal pixels: uint8 (N, 1, h, w).

    Args:
        images: uint8 (N, 3, h, w).
    """
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32).view(1, 3, 1, 1)
    parts = [((part.int() * weights).sum(1, keepdim=True) + 0x8000) >> 16 for part in torch.split(images, 1024)]
    return torch.cat([part.to(torch.uint8) for part in parts])


def _withheld(train: Reader, settings: DataSettings) -> Indices | None:
    """Training samples whose label is not used, or None."""
    if settings.labelled is None:
        return None
    labelled = balanced_subset(train.labels, settings.labelled, settings.seed)
    return np.setdiff1d(np.arange(len(train.labels)), labelled)


def _check(readers: Sequence[Reader], classes: Sequence[str], settings: DataSettings) -> None:
    if len(classes) < 2:
        msg = gettext(
            "{source} has {count} class ({classes}); a classifier needs two or more",
            source=settings.source,
            count=len(classes),
            classes=", ".join(classes),
        )
        raise DataError(msg)
    check_image_counts([len(reader.labels) for reader in readers], settings.source)
