"""Augmentation of an image together with its boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_VISIBLE = 0.4
"""Smallest fraction of the area of a box inside a crop; boxes with less are dropped."""
Sample = tuple[Tensor, Tensor, Tensor]
"""Image uint8 (C, h, w), boxes (m, 4) in its pixels, classes int64 (m,)."""


@dataclass(frozen=True)
class BoxAugmentation:
    """A crop of random size, place and aspect ratio, a change of contrast and brightness, and a horizontal flip.

    Attributes:
        crop: Smallest height and width of the crop, as a fraction of the image's.
        contrast: Largest relative change of contrast.
        brightness: Largest change of brightness, as a fraction of the largest value.
        flip: Probability of a flip.
    """

    crop: float
    contrast: float
    brightness: float
    flip: float

    def __call__(self, image: Tensor, boxes: Tensor, classes: Tensor) -> Sample:
        """A random view, by torch's default generator."""
        height, width = image.shape[1:]
        u = torch.rand(7).tolist()
        rows, columns = (
            max(1, round(side * (self.crop + (1 - self.crop) * v))) for side, v in zip((height, width), u, strict=False)
        )
        top, left = round((height - rows) * u[2]), round((width - columns) * u[3])
        image, boxes, classes = crop(image, boxes, classes, (top, left, rows, columns))
        gain, shift = 1 + self.contrast * (2 * u[4] - 1), 255 * self.brightness * (2 * u[5] - 1)
        pixels = image.float()
        mean = pixels.mean()
        image = ((pixels - mean) * gain + mean + shift).round().clamp(0, 255).to(torch.uint8)
        return flip(image, boxes, classes) if u[6] < self.flip else (image, boxes, classes)


AUGMENTATIONS = {
    "light": BoxAugmentation(crop=0.8, contrast=0.2, brightness=0.1, flip=0.0),
    "standard": BoxAugmentation(crop=0.5, contrast=0.4, brightness=0.2, flip=0.5),
}
"""By the name in `data.augment`; `none` has no entry."""


def crop(image: Tensor, boxes: Tensor, classes: Tensor, window: tuple[int, int, int, int]) -> Sample:
    """Crop an image to a window; boxes are clipped, and dropped if less than `LEAST_VISIBLE` of their area is inside.

    Args:
        image: uint8 (C, h, w).
        boxes: (m, 4), pixels.
        classes: int64 (m,).
        window: (top, left, height, width), pixels.
    """
    top, left, rows, columns = window
    moved = boxes - boxes.new_tensor((left, top, left, top))
    clipped = moved.clamp(min=0).minimum(boxes.new_tensor((columns, rows, columns, rows)))
    inside, whole = ((each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (clipped, boxes))
    mask = inside >= LEAST_VISIBLE * whole
    return image[:, top : top + rows, left : left + columns], clipped[mask], classes[mask]


def flip(image: Tensor, boxes: Tensor, classes: Tensor) -> Sample:
    """Mirror an image and its boxes from left to right."""
    x1, y1, x2, y2 = boxes.unbind(1)
    width = image.shape[2]
    return image.flip(2), torch.stack([width - x2, y1, width - x1, y2], dim=1), classes
