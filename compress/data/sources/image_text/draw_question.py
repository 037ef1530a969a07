"""Questions on drawn scenes of two objects, each with one right answer. Synthetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from compress.data.settings import Size
from compress.data.sources.image_text.draw_captioned import Scene, draw_scene

PLACES = {"above": ("above", "below"), "below": ("below", "above"), "left of": ("left", "right"), "right of": ("right", "left")}
"""Where the first and the second object are, by the relation of the first to the second."""


def draw_question(generator: np.random.Generator, size: Size) -> tuple[NDArray[np.uint8], str, str]:
    """One scene with a question that is drawn from those that it answers.

    Args:
        generator: Of all that is random.
        size: H and W.

    Returns:
        The image, uint8 (3, H, W), the answer, and the question.
    """
    scene = draw_scene(generator, size)
    possible = list(questions_on(scene))
    question, answer = possible[int(generator.integers(len(possible)))]
    return scene.image, answer, question


def questions_on(scene: Scene) -> Iterator[tuple[str, str]]:
    """Questions with their answers, of each object; an object is named by its shape, or by its colour.

    A question on a name that both objects have is asked only if both have the same answer.

    Args:
        scene: The scene.
    """
    first, second = scene.things
    for thing, other, place in zip((first, second), (second, first), PLACES[scene.relation], strict=True):
        alike = thing.shape == other.shape
        if not alike or thing.colour == other.colour:
            yield f"what colour is the {thing.shape}?", thing.colour
        if not alike or thing.extent == other.extent:
            yield f"is the {thing.shape} small or large?", thing.extent
        if not alike:
            yield f"where is the {thing.shape}?", place
        if thing.colour != other.colour or alike:
            yield f"which shape is {thing.colour}?", thing.shape
