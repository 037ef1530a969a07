"""Boxes follow the augmentations: the box of a bright rectangle is still its box afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compress.data.augment import seeded_transform
from compress.data.sources.detection.augment import AUGMENTATIONS, crop, flip


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """A white rectangle on black."""
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    image[:, 20:35, 30:50] = 255
    return image, torch.tensor([[30.0, 20, 50, 35]]), torch.tensor([2])


def bright_box(image: Tensor) -> list[float]:
    rows, columns = (image[0].float() > (image[0].float().max() + image[0].float().min()) / 2).nonzero().unbind(1)
    return [float(value) for value in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_boxes_follow_the_pixels(name: str) -> None:
    seen = set()
    for seed in range(12):
        with seeded_transform(seed):
            image, boxes, classes = AUGMENTATIONS[name](*scene())
        if len(boxes):
            assert boxes[0].tolist() == bright_box(image)
            assert classes.tolist() == [2]
            seen.add(tuple(image.shape))
    assert len(seen) > 3, "crops differ"


def test_a_flip_mirrors_boxes() -> None:
    image, boxes, _ = flip(*scene())
    assert boxes[0].tolist() == bright_box(image) == [30.0, 20, 50, 35]
    image, boxes, _ = flip(*crop(*scene(), (0, 0, 60, 60)))
    assert boxes[0].tolist() == bright_box(image) == [10.0, 20, 30, 35]


def test_a_crop_drops_boxes_that_are_mostly_outside() -> None:
    assert crop(*scene(), (0, 0, 60, 40))[1].tolist() == [[30.0, 20, 40, 35]], "half of it is inside"
    assert len(crop(*scene(), (0, 0, 60, 37))[1]) == 0, "a third of it is inside"
