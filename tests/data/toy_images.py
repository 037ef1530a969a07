"""Random images of three classes as `Data`."""

import numpy as np
import torch

from compress.data.build_image_data import from_arrays
from compress.data.settings import DataSettings

CLASSES = ["a", "b", "c"]


def part(count, seed, channels=1, size=12):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return pixels, np.arange(count, dtype=np.int64) % 3


def make(count=33, depth=1, **settings):
    chosen = DataSettings(**{"source": "digits", "image_size": 16, "views": 3, "augment": "standard", **settings})
    return from_arrays(part(count, 0, depth), part(9, 1, depth), part(12, 2, depth), classes=CLASSES, settings=chosen)
