"""`images:PATH`: an image, or all images in a folder and its subfolders, without labels.

Pixels are scaled to [0, 1] and normalised by `mean` and `std`, by default those of ImageNet; the record has the values.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import Resize, image_spec
from compress.data.batch import INPUT, Tensors
from compress.data.decode_image import open_image, resize_image
from compress.data.interface import Data
from compress.data.named_split import NamedSplit, split_indices
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.find_images import describe_files, find_images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIZE: Resize = "squash"


def load(settings: DataSettings, origin: DataSource) -> Data:
    """List the images and split them by seed; they are decoded when read.

    Raises:
        DataError: No such folder, no image in it, or means for another number of channels.
    """
    files = find_images(origin.path)
    height, width = (settings.sizes.get(axis, side) for axis, side in zip(("height", "width"), settings.size, strict=True))
    mean, std = (_per_channel(settings, own, default) for own, default in ((settings.mean, MEAN), (settings.std, STD)))

    def read(samples: Tensor) -> tuple[Tensors, Tensors]:
        pixels = torch.stack([_pixels(files[int(index)], settings.channels, height, width) for index in samples])
        center, scale = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
        return {INPUT: (pixels - center) / scale}, {}

    digest = hashlib.sha256(
        repr((describe_files(origin.path), settings.channels, height, width, mean, std)).encode()
    ).hexdigest()
    parts = split_indices(len(files), settings.validation, settings.test, settings.seed)
    limits = (settings.limit, settings.evaluation_limit, settings.evaluation_limit)
    train, validation, test = (
        NamedSplit(part[:limit] if limit else part, read, f"{digest} {settings.seed} {part[:limit].tolist()}")
        for part, limit in zip(parts, limits, strict=True)
    )
    spec = image_spec(
        channels=settings.channels, height=height, width=width, mean=mean, std=std, classes=(), resize=RESIZE, outputs=()
    )
    warnings: tuple[Fact, ...] = ()
    if len(files) < 3:
        warnings += (Fact.of("data.few_samples_in_all_splits", str(origin.path), count=len(files)),)
    if settings.mean is None or settings.std is None:
        warnings += (Fact.of("data.normalised_as_imagenet", str(origin.path), mean=mean, std=std),)
    return Data(spec, train, validation, test, source=settings.source, warnings=warnings)


def _per_channel(settings: DataSettings, own: tuple[float, ...] | None, default: tuple[float, ...]) -> tuple[float, ...]:
    values = own if own is not None else default if settings.channels == 3 else (sum(default) / 3,)
    if len(values) != settings.channels:
        msg = gettext(
            "data.mean and data.std have {count} values, and images have {channels} channels; give one for each",
            count=len(values),
            channels=settings.channels,
        )
        raise DataError(msg)
    return values


def _pixels(path: Path, channels: int, height: int, width: int) -> Tensor:
    """Pixels in [0, 1], (C, H, W)."""
    try:
        image = resize_image(open_image(path, channels), height, width, RESIZE)
    except (OSError, ValueError) as error:
        msg = gettext("{path}: {error}", path=path, error=error)
        raise DataError(msg) from error
    array = np.asarray(image, np.float32).reshape(height, width, channels).transpose(2, 0, 1) / np.float32(255)
    return torch.from_numpy(np.ascontiguousarray(array))
