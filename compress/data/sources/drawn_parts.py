"""`drawn_parts`: round parts on a dark ground, good ones and three kinds of defects, drawn by code from a seed. Synthetic.

A part is a brushed disc with three holes. Its place, size, turn, brightness and the direction of the light vary, and so does
the noise, so that a defect is no matter of one pixel's brightness:

    scratch   a thin straight line on the disc, lighter or darker
    stain     a soft spot on the disc, lighter or darker
    break     a piece is missing at the rim

Half of the parts are good; the kinds of defects are equally frequent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.seed_of import seed_of
from compress.data.build_image_data import ArrayPart, from_arrays
from compress.data.interface import Data
from compress.data.settings import DataSettings, DataSource

CLASSES = ("good", "scratch", "stain", "break")
PATTERN = (0, 1, 0, 2, 0, 3)
"""Classes of parts in turn: half of them are good."""
OVERSAMPLING = 2

Generator = np.random.Generator
Plane = NDArray[np.float64]


def load(settings: DataSettings, origin: DataSource) -> Data:  # noqa: ARG001
    """Draw `samples` training parts, `validation` · `samples` validation and `test` · `samples` test parts, each split apart.

    Raises:
        DataError: The images would not fit in memory.
    """
    counts = {
        "train": settings.samples,
        "validation": max(len(PATTERN), round(settings.samples * settings.validation)),
        "test": max(len(PATTERN), round(settings.samples * settings.test)),
    }
    height, width = settings.size
    needed, free = sum(counts.values()) * height * width, psutil.virtual_memory().available
    if needed > free / 2:
        msg = gettext(
            "drawn_parts: {counts} images of {height} × {width} need "
            "{needed:.1f} GiB, {free:.1f} GiB are free; lower `samples` or `image_size`",
            counts=sum(counts.values()),
            height=height,
            width=width,
            needed=needed / 2**30,
            free=free / 2**30,
        )
        raise DataError(msg)
    train, validation, test = (draw_split(split, count, settings) for split, count in counts.items())
    data = from_arrays(train, validation, test, classes=CLASSES, settings=settings)
    return replace(data, warnings=(Fact.of("data.drawn_scenes", settings.source), *data.warnings))


def draw_split(split: str, count: int, settings: DataSettings) -> ArrayPart:
    """Draw the parts of one split; the first ones are the same whatever their number.

    Args:
        split: Part of the seed.
        count: How many.
        settings: Size and seed.

    Returns:
        Images uint8 (count, 1, H, W) and classes int64 (count,).
    """
    images = torch.empty((count, 1, *settings.size), dtype=torch.uint8)
    kinds = np.array([PATTERN[index % len(PATTERN)] for index in range(count)], dtype=np.int64)
    for index, kind in enumerate(kinds):
        generator = np.random.default_rng(seed_of("drawn_parts", split, settings.seed, index))
        images[index, 0] = torch.from_numpy(draw_part(generator, settings.size, CLASSES[kind]))
    return images, kinds


def draw_part(generator: Generator, shape: tuple[int, int], kind: str) -> NDArray[np.uint8]:
    """One part, in the middle of the image, as large as its shorter side allows.

    Args:
        generator: Of all that is random.
        shape: (H, W), pixels.
        kind: One of `CLASSES`.

    Returns:
        Image, uint8 (H, W).
    """
    height, width = shape
    y, x = np.mgrid[0 : height * OVERSAMPLING, 0 : width * OVERSAMPLING] / (min(shape) * OVERSAMPLING)
    x, y = x - width / min(shape) / 2, y - height / min(shape) / 2
    x, y = x - generator.uniform(-0.04, 0.04), y - generator.uniform(-0.04, 0.04)
    radius, turn = generator.uniform(0.36, 0.4), generator.uniform(0, 2 * math.pi)
    distance = np.hypot(x, y)
    body = distance < radius
    for hole in range(3):
        angle = turn + hole * 2 * math.pi / 3
        body &= np.hypot(x - 0.2 * math.cos(angle), y - 0.2 * math.sin(angle)) > 0.05
    light = generator.uniform(0, 2 * math.pi)
    brushed = 0.04 * np.sin(distance * generator.uniform(140, 180)) + 0.12 * (x * math.cos(light) + y * math.sin(light))
    surface = generator.uniform(0.5, 0.65) + brushed
    if kind in SURFACE_DEFECTS:
        surface = surface + generator.choice([-1.0, 1.0]) * SURFACE_DEFECTS[kind](generator, x, y)
    elif kind == "break":
        body &= ~_missing_piece(generator, x, y, radius)
    ground = generator.uniform(0.08, 0.15)
    scene = np.where(body, surface, ground)
    pixels = scene.reshape(height, OVERSAMPLING, width, OVERSAMPLING).mean(axis=(1, 3)) + generator.normal(0, 0.02, shape)
    image: NDArray[np.uint8] = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return image


def _scratch(generator: Generator, x: Plane, y: Plane) -> Plane:
    """A line, 0.03 of the image wide and 0.2 to 0.45 long."""
    angle, length = generator.uniform(0, math.pi), generator.uniform(0.2, 0.45)
    along = x * math.cos(angle) + y * math.sin(angle) - generator.uniform(-0.12, 0.12)
    across = y * math.cos(angle) - x * math.sin(angle) - generator.uniform(-0.2, 0.2)
    inside = (np.abs(across) < 0.015) & (np.abs(along) < length / 2)
    line: Plane = generator.uniform(0.25, 0.45) * inside.astype(np.float64)
    return line


def _stain(generator: Generator, x: Plane, y: Plane) -> Plane:
    """A spot that fades outwards."""
    angle, place = generator.uniform(0, 2 * math.pi), generator.uniform(0, 0.28)
    distance = np.hypot(x - place * math.cos(angle), y - place * math.sin(angle))
    spot: Plane = generator.uniform(0.2, 0.4) * np.exp(-((distance / generator.uniform(0.05, 0.09)) ** 2))
    return spot


def _missing_piece(generator: Generator, x: Plane, y: Plane, radius: float) -> NDArray[np.bool_]:
    """A disc around a point of the rim."""
    angle = generator.uniform(0, 2 * math.pi)
    distance = np.hypot(x - radius * math.cos(angle), y - radius * math.sin(angle))
    piece: NDArray[np.bool_] = distance < generator.uniform(0.05, 0.1)
    return piece


SURFACE_DEFECTS: dict[str, Callable[[Generator, Plane, Plane], Plane]] = {"scratch": _scratch, "stain": _stain}
"""What defects add to the brightness of the surface, at least 0."""
