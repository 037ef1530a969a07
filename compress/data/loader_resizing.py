"""How the caller's own loaders resize images, found by comparing their samples with the image files that these were made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec, Resize
from compress.data.decode_image import MODES, open_image, resize_image
from compress.data.sources.folder_listing import printable

FILES = 8
"""How many files are compared."""
LEVELS = 3.0
"""Largest difference that rounding explains, of 255 levels: torchvision rounds the resized image before it is cropped."""


def find_resizing(samples: Sequence[tuple[Path, Tensor]], spec: NetworkSpec) -> tuple[Resize | None, tuple[Fact, ...]]:
    """The resizing by which files become these samples.

    Args:
        samples: Image files, each with the sample made of it, (C, H, W), normalised.
        spec: Input of the network; its `resize` is the only one that is tried, all are where it is None.

    Returns:
        The resizing, and no fact; or `spec.resize` and a fact that names the sample which no resizing gives.
    """
    if not samples or spec.channels not in MODES:
        return spec.resize, ()
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
    pixels = [(path, (sample * std + mean) * 255) for path, sample in samples]
    worst: list[tuple[float, Path]] = []
    for resize in (spec.resize,) if spec.resize else get_args(Resize):
        worst.append(max((_difference(path, expected, spec, resize), path) for path, expected in pixels))
        if worst[-1][0] <= LEVELS:
            return resize, ()
    difference, path = min(worst)
    return spec.resize, (Fact.of("data.loader_pixels_differ", printable(path), levels=round(difference, 1)),)


def _difference(path: Path, expected: Tensor, spec: NetworkSpec, resize: Resize) -> float:
    """Largest difference of an image as `infer.py` decodes it from the loader's, of 255 levels."""
    try:
        image = resize_image(open_image(path, spec.channels), spec.height, spec.width, resize)
    except (OSError, ValueError):  # read by the caller's own code alone
        return 255.0
    values = np.asarray(image, dtype=np.float32).reshape(spec.height, spec.width, spec.channels)
    return float((torch.from_numpy(values).permute(2, 0, 1) - expected).abs().max())
