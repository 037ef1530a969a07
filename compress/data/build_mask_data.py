"""Construction of `Data` for segmentation from readers of images with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import LOGITS, NetworkSpec, image_spec
from compress.core.signature import BATCH, TensorSpec
from compress.data.image_split import ImageTransforms, Reader
from compress.data.interface import Data
from compress.data.mask_split import MOST_CLASSES, MaskSplit
from compress.data.mask_transforms import MASK_AUGMENTATIONS, MaskEvaluationTransform
from compress.data.settings import DataSettings
from compress.data.split_checks import check_image_counts, find_copies
from compress.data.stratified import balanced_subset


def build_mask_data(
    readers: Sequence[Reader],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: Sequence[str],
    settings: DataSettings,
    skipped: tuple[Fact, ...] = (),
) -> Data:
    """`Data` over the readers of train, validation and test, which return image and mask as one tensor.

    Raises:
        DataError: A split is empty, there are fewer than two or more than 255 classes, or an augmentation that has no masks.
    """
    _check(readers, classes, settings)
    size, augment = settings.size, MASK_AUGMENTATIONS.get(settings.augment)
    plain = MaskEvaluationTransform(size)
    augmented = None if augment is None else augment(size, plain)
    transforms = ImageTransforms(size, plain, augmented, settings.views, settings.seed, mean, std, settings.workers)
    still = replace(transforms, augmented=None, views=1)
    train, validation, test = readers
    withheld = None
    if settings.labelled is not None:
        labelled = balanced_subset(train.labels, settings.labelled, settings.seed)
        withheld = np.setdiff1d(np.arange(len(train.labels)), labelled)
    return Data(
        spec=segmentation_spec(settings, mean, std, tuple(classes)),
        train=MaskSplit(train, transforms, withheld=withheld),
        validation=MaskSplit(validation, still),
        test=MaskSplit(test, still),
        source=settings.source,
        skipped=skipped,
        warnings=find_copies(train, validation, test),
    )


def segmentation_spec(
    settings: DataSettings, mean: tuple[float, ...], std: tuple[float, ...], classes: tuple[str, ...]
) -> NetworkSpec:
    """Specification of a network with a class for each pixel of an image."""
    height, width = settings.size
    logits = TensorSpec(name=LOGITS, shape=(BATCH, len(classes), height, width))
    return image_spec(
        channels=settings.channels,
        height=height,
        width=width,
        mean=mean,
        std=std,
        classes=classes,
        resize="squash",
        outputs=(logits,),
    )


def _check(readers: Sequence[Reader], classes: Sequence[str], settings: DataSettings) -> None:
    source = settings.source
    if not 2 <= len(classes) <= MOST_CLASSES:
        msg = gettext(
            "{source} has {count} classes; masks have 2 to {most_classes}, including the background",
            source=source,
            count=len(classes),
            most_classes=MOST_CLASSES,
        )
        raise DataError(msg)
    if settings.augment not in ("none", *MASK_AUGMENTATIONS):
        allowed = ", ".join(("none", *MASK_AUGMENTATIONS))
        msg = gettext(
            "augment {augment!r} moves an image without its mask; for masks augment is one of: {allowed}",
            augment=settings.augment,
            allowed=allowed,
        )
        raise DataError(msg)
    check_image_counts([len(reader.labels) for reader in readers], source)
