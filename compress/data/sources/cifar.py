"""`cifar10`, `cifar100`: 60,000 photographs of 32 × 32 pixels (Krizhevsky 2009), through torchvision, downloaded once.

They are stored in `$COMPRESS_DATA`, or in `data/` beside the recipe. The test split is that of the data set; validation images
are held out of the training images.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torchvision import datasets

from compress.core.errors import DataError
from compress.core.language import gettext
from compress.core.user_path import user_path
from compress.data.build_image_data import ArrayPart, from_arrays
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource
from compress.data.stratified import stratified_hold_out


def load_cifar10(settings: DataSettings, origin: DataSource) -> Data:
    """Ten classes.

    Raises:
        DataError: Not there and cannot be downloaded.
    """
    return _load(datasets.CIFAR10, settings, origin)


def load_cifar100(settings: DataSettings, origin: DataSource) -> Data:
    """A hundred classes.

    Raises:
        DataError: Not there and cannot be downloaded.
    """
    return _load(datasets.CIFAR100, settings, origin)


def folder(base: Path) -> Path:
    """Where downloads are kept: `$COMPRESS_DATA`, else `data/` in `base`."""
    path = os.environ.get("COMPRESS_DATA")
    return user_path(path) if path else base / "data"


def _load(dataset: type[datasets.CIFAR10], settings: DataSettings, origin: DataSource) -> Data:
    training, test = (_open(dataset, folder(origin.base), train) for train in (True, False))
    images, labels = _part(training)
    rest, held = stratified_hold_out(labels, settings.validation, settings.seed)
    return from_arrays(
        (images[torch.from_numpy(rest)], labels[rest]),
        (images[torch.from_numpy(held)], labels[held]),
        _part(test),
        classes=training.classes,
        settings=settings,
    )


def _open(dataset: type[datasets.CIFAR10], root: Path, train: bool) -> datasets.CIFAR10:
    try:
        with warnings.catch_warnings():
            # The files are pickles of an old NumPy, read by torchvision.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            return dataset(root, train=train, download=True)
    except (OSError, RuntimeError) as error:
        msg = gettext(
            "{name} is not in {root} and cannot be downloaded ({error}): on a machine with a network, get "
            "{url} and unpack it there as {folder}, or set COMPRESS_DATA to the folder that holds "
            "{base_folder}",
            name=dataset.__name__,
            root=root,
            error=error,
            url=dataset.url,
            folder=root / dataset.base_folder,
            base_folder=dataset.base_folder,
        )
        raise DataError(msg) from error


def _part(dataset: datasets.CIFAR10) -> ArrayPart:
    return torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous(), np.asarray(dataset.targets, dtype=np.int64)
