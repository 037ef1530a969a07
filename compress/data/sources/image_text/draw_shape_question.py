"""Questions on drawn images of one shape, each with one right answer. Synthetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compress.data.settings import Size
from compress.data.sources.image_text.draw_captioned import Thing, draw_thing, draw_things

SIZES = {"small": 0.15, "large": 0.28}
"""Radius as a fraction of the smaller side."""
NEAREST, FURTHEST = 0.08, 0.2
"""Distance of the centre of the shape from each of the middle lines, as a fraction of the side."""


def draw_shape_question(generator: np.random.Generator, size: Size) -> tuple[NDArray[np.uint8], str, str]:
    """One image with a question that is drawn from those of `questions_on_shape`.

    Args:
        generator: Of all that is random.
        size: H and W.

    Returns:
        The image, uint8 (3, H, W), the answer, and the question.
    """
    thing = draw_thing(generator)
    right, lower = (bool(side) for side in generator.integers(0, 2, 2))

    def centre(canvas: tuple[int, int]) -> list[tuple[float, float]]:
        away = generator.uniform(NEAREST, FURTHEST, 2) * np.where([right, lower], 1.0, -1.0)
        x, y = (0.5 + away) * canvas
        return [(float(x), float(y))]

    image = draw_things(generator, size, [thing], centre, SIZES)
    possible = list(questions_on_shape(thing, right=right, lower=lower).items())
    question, answer = possible[int(generator.integers(len(possible)))]
    return image, answer, question


def questions_on_shape(thing: Thing, *, right: bool, lower: bool) -> dict[str, str]:
    """Answers by their questions.

    Args:
        thing: The shape.
        right: Whether it is in the right half of the image; else in the left one.
        lower: Whether it is in the lower half; else in the upper one.
    """
    return {
        "what colour is it?": thing.colour,
        "which shape is it?": thing.shape,
        "is it small or large?": thing.extent,
        "where is it?": f"{'bottom' if lower else 'top'} {'right' if right else 'left'}",
    }
