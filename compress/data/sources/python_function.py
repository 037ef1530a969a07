"""`python:FILE.py:FUNCTION`: data from a function of the user.

The function gets the recipe's `DataSettings` and returns either a `Data`, or

    (train, validation, test, classes)

with torch datasets of (image, label) and the class names. An image is a uint8 tensor (C, H, W) or a Pillow image, without
augmentation; a label is an int that counts in `classes`. The datasets are read once into memory at the recipe's image size; for
images that do not fit there, use `imagefolder:` or return a `Data`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.network_spec import Resize
from compress.core.trusted_code import load_function
from compress.data.augment import EvaluationTransform, image_tensor
from compress.data.build_image_data import ArrayPart, from_arrays, rgb_to_grey
from compress.data.decode_image import convert_image
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource

RESIZE: Resize = "center_crop_unless_square"


class LabelledImages(Protocol):
    """A dataset of (image, label), such as those of torchvision."""

    def __len__(self) -> int:
        """Samples."""

    def __getitem__(self, index: int, /) -> tuple[object, int]:
        """Image and label."""


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Call the function and return its data.

    Raises:
        TrustError: Its code may not run.
        CompressError: No such file or function.
        DataError: Its result is not of one of the two forms.
    """
    result = load_function(origin.argument, origin.base, origin.trust_code)(settings)
    if isinstance(result, Data):
        return result
    if not isinstance(result, tuple) or len(result) != 4:
        msg = gettext(
            "{source} returned {kind}; expected a Data or (train, validation, test, classes)",
            source=settings.source,
            kind=type(result).__name__,
        )
        raise DataError(msg)
    *datasets, classes = result
    names = [str(name) for name in classes]
    parts = [
        _read(dataset, f"{settings.source}, {name}", len(names), settings)
        for name, dataset in zip(("train", "validation", "test"), datasets, strict=True)
    ]
    return from_arrays(*parts, classes=names, settings=settings, resize=RESIZE)


def _read(dataset: LabelledImages, what: str, classes: int, settings: DataSettings) -> ArrayPart:
    """A whole dataset as (N, C, H, W) and labels."""
    transform = EvaluationTransform(settings.size, RESIZE)
    images: list[Tensor] = []
    labels: list[int] = []
    for index in range(len(dataset)):
        image, label = dataset[index]
        if not 0 <= int(label) < classes:
            msg = gettext(
                "{what}[{index}]: label {label}, but there are {classes} classes (0 to {last})",
                what=what,
                index=index,
                label=int(label),
                classes=classes,
                last=classes - 1,
            )
            raise DataError(msg)
        images.append(transform(_tensor(image, f"{what}[{index}]", settings.channels)))
        labels.append(int(label))
    if not images:
        msg = gettext("{what}: no samples", what=what)
        raise DataError(msg)
    return torch.stack(_alike(images)), np.asarray(labels, dtype=np.int64)


def _tensor(image: object, what: str, channels: int) -> Tensor:
    if isinstance(image, Image.Image):
        is_grey = channels == 1 or (image.mode in ("1", "L") and "transparency" not in image.info)
        try:
            return image_tensor(convert_image(image, 1 if is_grey else 3))
        except (ValueError, OSError) as error:
            msg = gettext("{what}: {error}", what=what, error=error)
            raise DataError(msg) from error
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] in (1, 3):
        return rgb_to_grey(image[None])[0] if channels == 1 and image.shape[0] == 3 else image
    description = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
    msg = gettext(
        "{what}: {description}; an image is a uint8 tensor (C, H, W) with C 1 or 3, or a Pillow image",
        what=what,
        description=description,
    )
    raise DataError(msg)


def _alike(images: list[Tensor]) -> list[Tensor]:
    """All grey or all RGB."""
    channels = max(image.shape[0] for image in images)
    return [image.expand(channels, -1, -1) for image in images]
