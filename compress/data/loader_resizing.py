"""Detection of the resizing of the caller's loaders, by comparing samples with their image files."""

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
"""Number of compared files."""
LEVELS = 3.0
"""Largest difference by rounding, of 255 levels: torchvision rounds the resized image before the crop."""


def find_resizing(samples: Sequence[tuple[Path, Tensor]], spec: NetworkSpec) -> tuple[Resize | None, tuple[Fact, ...]]:
    """The resizing that gives these samples from their files.

    Args:
        samples: Image files, each with its sample (C, H, W), normalised.
        spec: Input of the network; only its `resize` is tried, or all kinds if it is None.

    Returns:
        The resizing without a fact; or `spec.resize` and a fact about the sample that no resizing gives.
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
    """Largest difference between the image of `infer.py` and that of the loader, of 255 levels."""
    try:
        image = resize_image(open_image(path, spec.channels), spec.height, spec.width, resize)
    except (OSError, ValueError):  # only the caller's code can read it
        return 255.0
    values = np.asarray(image, dtype=np.float32).reshape(spec.height, spec.width, spec.channels)
    return float((torch.from_numpy(values).permute(2, 0, 1) - expected).abs().max())
