"""Draw scenes of shapes and characters with the exact class of each pixel. Synthetic.

Shapes overlap on a background of a colour gradient and blurred noise; their colours are drawn from the same distribution as
the background's, so that only the outline tells a class. Everything is drawn at `OVERSAMPLING` times the size: the image is
its mean over each pixel, the mask the class at the centre of the pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from compress.data.settings import Size

OVERSAMPLING = 4
CLASSES = ("background", "disc", "rectangle", "triangle", "cross", "character")
CHARACTERS = "ABEFGHKMNPRSWXYZ23456789"
FONT = "DejaVuSans-Bold"

Generator = np.random.Generator
Uint8 = NDArray[np.uint8]
Point = tuple[float, float]
Stencil = Callable[[ImageDraw.ImageDraw, Generator, Point, float], None]
"""Draws a shape with value 1 at a place and radius in pixels."""


def draw_scene(generator: Generator, size: Size) -> tuple[Uint8, Uint8]:
    """One scene.

    Args:
        generator: Of all that is random.
        size: H and W.

    Returns:
        The image, uint8 (3, H, W), and the class of each pixel, uint8 (H, W).
    """
    height, width = size
    large = height * OVERSAMPLING, width * OVERSAMPLING
    image = _background(generator, large)
    mask = np.zeros(large, dtype=np.uint8)
    for _ in range(int(generator.integers(2, 6))):
        label = int(generator.integers(1, len(CLASSES)))
        inside = _stencil(generator, label, large)
        image[inside] = _colour(generator, image[inside].mean(axis=0) if inside.any() else np.zeros(3))
        mask[inside] = label
    blocks = image.reshape(height, OVERSAMPLING, width, OVERSAMPLING, 3).mean(axis=(1, 3))
    noisy = blocks + generator.normal(0.0, generator.uniform(0.0, 0.06), blocks.shape)
    pixels = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
    centre = OVERSAMPLING // 2
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), np.ascontiguousarray(
        mask[centre::OVERSAMPLING, centre::OVERSAMPLING]
    )


def _background(generator: Generator, size: Size) -> NDArray[np.float32]:
    """A gradient between two colours and noise of a random grain, float32 (H, W, 3)."""
    first, second = generator.uniform(0, 1, (2, 3))
    angle = generator.uniform(0, 2 * math.pi)
    height, width = size
    y, x = (axis.astype(np.float32) / side - 0.5 for axis, side in zip(np.mgrid[0:height, 0:width], size, strict=True))
    share = (0.5 + 0.7 * (x * math.cos(angle) + y * math.sin(angle)))[..., None]
    grain = int(generator.integers(4, 17))
    noise = generator.uniform(0, 255, (grain, grain)).astype(np.uint8)
    texture = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32) / 255 - 0.5
    scene: NDArray[np.float32] = (first + (second - first) * share + 0.3 * texture[..., None]).astype(np.float32)
    return scene


def _colour(generator: Generator, surroundings: NDArray[np.float64]) -> NDArray[np.float64]:
    """A colour that differs from the background by 0.25 or more in one channel."""
    while True:
        colour = generator.uniform(0, 1, 3)
        if np.abs(colour - surroundings).max() >= 0.25:
            return colour


def _stencil(generator: Generator, label: int, size: Size) -> NDArray[np.bool_]:
    """Where a shape of a class lies, bool (H, W)."""
    height, width = size
    canvas = Image.new("1", (width, height))
    centre = (generator.uniform(0.1, 0.9) * width, generator.uniform(0.1, 0.9) * height)
    STENCILS[label - 1](ImageDraw.Draw(canvas), generator, centre, generator.uniform(0.1, 0.24) * min(size))
    return np.asarray(canvas, dtype=bool)


def _turned(points: list[Point], centre: Point, radius: float, angle: float) -> list[Point]:
    cosine, sine = math.cos(angle) * radius, math.sin(angle) * radius
    return [(centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine) for x, y in points]


def _disc(draw: ImageDraw.ImageDraw, generator: Generator, centre: Point, radius: float) -> None:  # noqa: ARG001
    draw.ellipse((centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius), fill=1)


def _rectangle(draw: ImageDraw.ImageDraw, generator: Generator, centre: Point, radius: float) -> None:
    width, height = 1.0, generator.uniform(0.45, 1.0)
    corners = [(-width, -height), (width, -height), (width, height), (-width, height)]
    draw.polygon(_turned(corners, centre, 0.8 * radius, generator.uniform(0, math.pi)), fill=1)


def _triangle(draw: ImageDraw.ImageDraw, generator: Generator, centre: Point, radius: float) -> None:
    corners = [(math.cos(angle), math.sin(angle)) for angle in (0, 2 * math.pi / 3, 4 * math.pi / 3)]
    draw.polygon(_turned(corners, centre, 1.2 * radius, generator.uniform(0, math.pi)), fill=1)


def _cross(draw: ImageDraw.ImageDraw, generator: Generator, centre: Point, radius: float) -> None:
    arm, angle = generator.uniform(0.22, 0.36), generator.uniform(0, math.pi)
    for width, height in ((1.0, arm), (arm, 1.0)):
        corners = [(-width, -height), (width, -height), (width, height), (-width, height)]
        draw.polygon(_turned(corners, centre, 1.1 * radius, angle), fill=1)


def _character(draw: ImageDraw.ImageDraw, generator: Generator, centre: Point, radius: float) -> None:
    file = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{FONT}.ttf"
    font = ImageFont.truetype(file, round(2.6 * radius))
    draw.text(centre, CHARACTERS[generator.integers(len(CHARACTERS))], fill=1, font=font, anchor="mm")


STENCILS: tuple[Stencil, ...] = (_disc, _rectangle, _triangle, _cross, _character)
"""In the order of `CLASSES` without the background."""
