"""`drawn_captions`: drawn scenes of two shapes with a caption each, as many as asked for, from a seed. Synthetic.

The class of an image, for zero-shot classification, is the shape that its caption names first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.build_image_data import channel_moments, rgb_to_grey
from compress.data.image_split import ImageArrays, Reader
from compress.data.image_text.build import ImageReaders
from compress.data.image_text.build_pairs import build_pair_data
from compress.data.image_text.captions import Captions
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.draw_captioned import draw_captioned
from compress.data.stratified import Indices

Draw = Callable[[np.random.Generator], tuple[NDArray[np.uint8], str, str]]
"""Image, uint8 (3, H, W), its text and its class."""


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Draw `samples` training scenes, `validation` · `samples` validation and `test` · `samples` test scenes, each split apart.

    Raises:
        DataError: The scenes would not fit in memory.
        MissingPackageError: tokenizers is not installed.
    """
    splits, readers, facts = drawn_pairs("drawn_captions", lambda generator: draw_captioned(generator, settings.size), settings)
    return build_pair_data(splits, readers, settings, origin, facts)


def drawn_pairs(name: str, draw: Draw, settings: DataSettings) -> tuple[dict[str, Captions], ImageReaders, tuple[Fact, ...]]:
    """Drawn images with texts of each split, how they are read, and the fact that they are drawn.

    Args:
        name: Of the source, a part of the seed.
        draw: Draws one image.
        settings: The `data:` block.

    Raises:
        DataError: The images would not fit in memory.
    """
    total, most = settings.samples, settings.evaluation_limit
    counts = {
        "train": min(total, settings.limit or total),
        "val": max(1, min(round(total * settings.validation), most or total)),
        "test": max(1, min(round(total * settings.test), most or total)),
    }
    _check_memory(name, sum(counts.values()), settings)
    images: list[torch.Tensor] = []
    splits = {}
    for split, count in counts.items():
        start, texts, classes = len(images), [], []
        for index in range(count):
            image, text, label = draw(np.random.default_rng(seed_of(name, split, settings.seed, index)))
            images.append(torch.from_numpy(image))
            texts.append(text)
            classes.append(label)
        splits[split] = Captions(np.arange(start, len(images), dtype=np.int64), texts, classes)
    pixels = torch.stack(images)
    if settings.channels == 1:
        pixels = rgb_to_grey(pixels)

    def read(numbers: Indices) -> Reader:
        return ImageArrays(pixels[torch.from_numpy(numbers)], np.zeros(len(numbers), np.int64))

    readers = ImageReaders(read, lambda reader: channel_moments(_all_of(reader), settings.channels), "squash")
    return splits, readers, (Fact.of("data.drawn_scenes", settings.source),)


def _all_of(reader: Reader) -> torch.Tensor:
    assert isinstance(reader, ImageArrays)  # noqa: S101  # as made in `load`
    return reader.images


def _check_memory(name: str, count: int, settings: DataSettings) -> None:
    height, width = settings.size
    needed, free = count * 3 * height * width, psutil.virtual_memory().available
    if needed > free / 3:
        msg = gettext(
            "{name}: {count} images of {height} × {width} need {needed:.1f} GiB, {free:.1f} GiB are free; lower `samples` or "
            "`image_size`",
            name=name,
            count=count,
            height=height,
            width=width,
            needed=needed / 2**30,
            free=free / 2**30,
        )
        raise DataError(msg)
