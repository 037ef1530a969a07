"""`drawn_captions`: drawn scenes of two shapes with a caption each, as many as asked for, from a seed. Synthetic.

The class of an image, for zero-shot classification, is the shape that its caption names first.
"""

from __future__ import annotations

import numpy as np
import psutil
import torch

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.build_image_data import channel_moments, rgb_to_grey
from compress.data.image_split import ImageArrays, Reader
from compress.data.image_text.build import ImageReaders, build_image_text_data
from compress.data.image_text.captions import Captions
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.sources.image_text.draw_captioned import draw_captioned
from compress.data.stratified import Indices


def load(settings: DataSettings, origin: DataSource) -> Data:
    """Draw `samples` training scenes, `validation` · `samples` validation and `test` · `samples` test scenes, each split apart.

    Raises:
        DataError: The scenes would not fit in memory.
        MissingPackageError: tokenizers is not installed.
    """
    total, most = settings.samples, settings.evaluation_limit
    counts = {
        "train": min(total, settings.limit or total),
        "val": max(1, min(round(total * settings.validation), most or total)),
        "test": max(1, min(round(total * settings.test), most or total)),
    }
    _check_memory(sum(counts.values()), settings)
    images: list[torch.Tensor] = []
    splits = {}
    for split, count in counts.items():
        start, texts, classes = len(images), [], []
        for index in range(count):
            generator = np.random.default_rng(seed_of("drawn_captions", split, settings.seed, index))
            image, caption, shape = draw_captioned(generator, settings.size)
            images.append(torch.from_numpy(image))
            texts.append(caption)
            classes.append(shape)
        splits[split] = Captions(np.arange(start, len(images), dtype=np.int64), texts, classes)
    pixels = torch.stack(images)
    if settings.channels == 1:
        pixels = rgb_to_grey(pixels)

    def read(numbers: Indices) -> Reader:
        return ImageArrays(pixels[torch.from_numpy(numbers)], np.zeros(len(numbers), np.int64))

    readers = ImageReaders(read, lambda reader: channel_moments(_all_of(reader), settings.channels), "squash")
    return build_image_text_data(splits, readers, settings, origin, (Fact.of("data.drawn_scenes", settings.source),))


def _all_of(reader: Reader) -> torch.Tensor:
    assert isinstance(reader, ImageArrays)  # noqa: S101  # as made in `load`
    return reader.images


def _check_memory(count: int, settings: DataSettings) -> None:
    height, width = settings.size
    needed, free = count * 3 * height * width, psutil.virtual_memory().available
    if needed > free / 3:
        msg = gettext(
            "drawn_captions: {count} scenes of {height} × {width} need {needed:.1f} GiB, "
            "{free:.1f} GiB are free; lower `samples` or `image_size`",
            count=count,
            height=height,
            width=width,
            needed=needed / 2**30,
            free=free / 2**30,
        )
        raise DataError(msg)
