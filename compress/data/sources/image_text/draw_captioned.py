"""Draw scenes of two coloured shapes with a sentence that says what is where. Synthetic.

A caption names size, colour and shape of one object, its place relative to another one, and the other one:
`a small red disc above a large blue cross`. With 5 shapes, 8 colours, 2 sizes and 4 relations, one word may tell two captions
apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from compress.data.settings import Size

SHAPES = ("disc", "square", "triangle", "cross", "ring")
COLOURS = {
    "red": (214, 40, 40),
    "green": (44, 150, 60),
    "blue": (40, 80, 210),
    "yellow": (235, 205, 40),
    "purple": (140, 60, 170),
    "orange": (240, 130, 30),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
SIZES = {"small": 0.13, "large": 0.21}
"""Radius as a fraction of the smaller side."""
RELATIONS = {"above": (0, -1), "below": (0, 1), "left of": (-1, 0), "right of": (1, 0)}
"""Direction from the second object to the first, x to the right and y downwards."""
OVERSAMPLING = 4
NOISE = 6.0
"""Standard deviation of the noise of pixels, of 255 levels."""

Generator = np.random.Generator
Box = tuple[float, float, float, float]


class Thing(NamedTuple):
    """An object of a scene.

    Attributes:
        extent: `small` or `large`.
        colour: Its name.
        shape: Its name.
    """

    extent: str
    colour: str
    shape: str


class Scene(NamedTuple):
    """A drawn scene.

    Attributes:
        image: uint8 (3, H, W).
        things: Both objects.
        relation: Place of the first one relative to the second.
    """

    image: NDArray[np.uint8]
    things: tuple[Thing, Thing]
    relation: str


def draw_captioned(generator: Generator, size: Size) -> tuple[NDArray[np.uint8], str, str]:
    """One scene with its caption.

    Args:
        generator: Of all that is random.
        size: H and W.

    Returns:
        The image, uint8 (3, H, W), its caption, and the shape of the first object.
    """
    scene = draw_scene(generator, size)
    first, second = (" ".join(each) for each in scene.things)
    return scene.image, f"a {first} {scene.relation} a {second}", scene.things[0].shape


def draw_scene(generator: Generator, size: Size) -> Scene:
    """One scene of two objects.

    Args:
        generator: Of all that is random.
        size: H and W.
    """
    things = draw_thing(generator), draw_thing(generator)
    relation = str(generator.choice(list(RELATIONS)))
    image = draw_things(generator, size, things, lambda large: _centres(generator, relation, large))
    return Scene(image, things, relation)


def draw_things(
    generator: Generator,
    size: Size,
    things: Sequence[Thing],
    place: Callable[[tuple[int, int]], Sequence[tuple[float, float]]],
    extents: Mapping[str, float] = SIZES,
) -> NDArray[np.uint8]:
    """Draw objects on a ground of one colour, with noise.

    Args:
        generator: Of all that is random.
        size: H and W.
        things: The objects.
        place: Width and height of the canvas, pixels → centre of each object, x and y.
        extents: Radius by the name of an extent, as a fraction of the smaller side.

    Returns:
        The image, uint8 (3, H, W).
    """
    height, width = size
    large = width * OVERSAMPLING, height * OVERSAMPLING
    ground = tuple(int(level) for level in generator.integers(80, 176, 3))
    canvas = Image.new("RGB", large, ground)
    draw = ImageDraw.Draw(canvas)
    for thing, centre in zip(things, place(large), strict=True):
        jitter = generator.integers(-14, 15, 3)
        fill = tuple(int(level) for level in np.clip(np.array(COLOURS[thing.colour]) + jitter, 0, 255))
        _draw(draw, thing.shape, centre, extents[thing.extent] * min(large), fill, ground)
    pixels = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), dtype=np.float64)
    noisy = np.rint(np.clip(pixels + generator.normal(0.0, NOISE, pixels.shape), 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(noisy.transpose(2, 0, 1))


def draw_thing(generator: Generator) -> Thing:
    """Extent, colour and shape of an object, each drawn by itself."""
    return Thing(
        str(generator.choice(list(SIZES))),
        str(generator.choice(list(COLOURS))),
        str(generator.choice(list(SHAPES))),
    )


def _centres(generator: Generator, relation: str, size: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the two objects lie, pixels: apart by about half of the image in the direction of the relation."""
    x, y = RELATIONS[relation]
    apart = generator.uniform(0.24, 0.28)
    drift = generator.uniform(-0.08, 0.08, (2, 2))
    first, second = (
        (
            (0.5 + sign * x * apart + (1 - abs(x)) * across + 0.3 * along * abs(x)) * size[0],
            (0.5 + sign * y * apart + (1 - abs(y)) * across + 0.3 * along * abs(y)) * size[1],
        )
        for sign, (along, across) in zip((1, -1), drift, strict=True)
    )
    return first, second


def _draw(
    draw: ImageDraw.ImageDraw,
    shape: str,
    centre: tuple[float, float],
    radius: float,
    fill: tuple[int, ...],
    ground: tuple[int, ...],
) -> None:
    """Draw a shape about a centre; the hole of a ring shows the ground."""
    x, y = centre
    box: Box = (x - radius, y - radius, x + radius, y + radius)
    if shape in ("disc", "ring"):
        draw.ellipse(box, fill=fill)
    if shape == "ring":
        inner = 0.5 * radius
        draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=ground)
    if shape == "square":
        half = 0.85 * radius
        draw.rectangle((x - half, y - half, x + half, y + half), fill=fill)
    if shape == "triangle":
        draw.polygon([(x, y - radius), (x + radius, y + 0.8 * radius), (x - radius, y + 0.8 * radius)], fill=fill)
    if shape == "cross":
        arm = 0.32 * radius
        draw.rectangle((x - radius, y - arm, x + radius, y + arm), fill=fill)
        draw.rectangle((x - arm, y - radius, x + arm, y + radius), fill=fill)
