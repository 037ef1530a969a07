"""A small distilled set of digits."""

from pathlib import Path

import torch

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.distilled_metadata import DistilledMetadata
from compress.data.sources.distilled_set import DistilledSet

SETTINGS = DataSettings(source="digits", image_size=16, channels=1, augment="none")


def a_set(count=4, **about):
    data = load_data(SETTINGS, base=Path())
    targets = torch.arange(10).repeat_interleave(count)
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(len(targets), 1, 16, 16, generator=generator)
    soft = torch.randn(len(targets), 10, generator=generator).softmax(1)
    behind = {"data": data.settings, "source": data.source, "fingerprint": data.train.fingerprint}
    fields = {"method": "gradient", "augmentation": ("crop",), "views": 3} | behind | about
    return DistilledSet(images, targets, soft, data.spec, DistilledMetadata(**fields))


def recipe(**more):
    return DataSettings(**{"source": "distilled:set", "image_size": 16, "channels": 1} | more)
