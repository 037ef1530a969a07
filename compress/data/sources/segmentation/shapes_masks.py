"""`shapes_masks`: drawn scenes of shapes and characters with exact masks, as many as asked for, from a seed. Synthetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psutil
import torch

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.build_image_data import channel_moments, rgb_to_grey
from compress.data.build_mask_data import build_mask_data
from compress.data.interface import Data
from compress.data.mask_split import MaskArrays
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.segmentation.draw_scene import CLASSES, draw_scene


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001
    """Draw `samples` training scenes, `validation` · `samples` validation and `test` · `samples` test scenes, each split apart.

    Raises:
        DataError: The scenes would not fit in memory, or the settings do not go with masks.
    """
    total = settings.samples
    counts = {
        "train": min(total, settings.limit or total),
        "validation": max(1, min(round(total * settings.validation), settings.evaluation_limit or total)),
        "test": max(1, min(round(total * settings.test), settings.evaluation_limit or total)),
    }
    _check_memory(sum(counts.values()), settings)
    readers = [draw_split(split, count, settings) for split, count in counts.items()]
    mean, std = channel_moments(readers[0].samples[:, :-1], settings.channels)
    data = build_mask_data(readers, mean=mean, std=std, classes=CLASSES, settings=settings)
    return replace(data, warnings=(Fact.of("data.drawn_scenes", settings.source), *data.warnings))


def draw_split(split: str, count: int, settings: DataSettings) -> MaskArrays:
    """Draw the scenes of one split; the first ones are the same whatever their number.

    Args:
        split: Part of the seed.
        count: How many.
        settings: Size, channels and seed.
    """
    samples = torch.empty((count, settings.channels + 1, *settings.size), dtype=torch.uint8)
    for index in range(count):
        generator = np.random.default_rng(seed_of("shapes_masks", split, settings.seed, index))
        image, mask = draw_scene(generator, settings.size)
        pixels = torch.from_numpy(image)
        samples[index, :-1] = rgb_to_grey(pixels[None])[0] if settings.channels == 1 else pixels
        samples[index, -1] = torch.from_numpy(mask)
    return MaskArrays(samples)


def _check_memory(count: int, settings: DataSettings) -> None:
    height, width = settings.size
    needed = count * (settings.channels + 1) * height * width
    free = psutil.virtual_memory().available
    if needed > free / 2:
        msg = gettext(
            "shapes_masks: {count} scenes of {height} × {width} need {needed:.1f} GiB, "
            "{free:.1f} GiB are free; lower `samples` or `image_size`",
            count=count,
            height=height,
            width=width,
            needed=needed / 2**30,
            free=free / 2**30,
        )
        raise DataError(msg)
