"""Differentiable augmentation, equal for real and synthetic images, for the synthesis of a set and training on it.

Zhao & Bilen 2021, "Dataset Condensation with Differentiable Siamese Augmentation", arXiv:2102.08259, section 3 and table 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PROBABILITIES = 4
"""Number of uniform random numbers for an image: one for the operation, and up to three for its strength."""


def differentiable_augment(x: Tensor, operations: Sequence[str], chance: Tensor) -> Tensor:
    """One of the operations on each image, differentiable in x.

        A_ω(x): ω chosen by chance[:, 0], its strength by the other numbers

    With one row of numbers all images are changed equally. With the same row for real and synthetic images
    it is the siamese augmentation, through which gradients of a matching loss reach the synthetic pixels. A deviation from
    the paper: pixels outside the image repeat its border, where the paper uses 0.

    Args:
        x: Normalised images, (N, C, H, W); not changed.
        operations: Names in `OPERATIONS`; without names the images are returned unchanged.
        chance: Uniform numbers in [0, 1), (N, `PROBABILITIES`) or (1, `PROBABILITIES`).

    Returns:
        Images, (N, C, H, W).
    """
    if not operations:
        return x
    which = (chance[:, 0] * len(operations)).long().clamp(max=len(operations) - 1)
    if len(chance) == 1:
        return OPERATIONS[operations[int(which)]](x, chance[:, 1:].expand(len(x), -1))
    rows = [(which == number).nonzero().flatten() for number in range(len(operations))]
    changed = [
        OPERATIONS[name](x[chosen], chance[chosen, 1:]) for name, chosen in zip(operations, rows, strict=True) if len(chosen)
    ]
    return torch.cat(changed)[torch.cat(rows).argsort()]


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness + U(−0.5, 0.5), saturation × U(0, 2), contrast × U(0.5, 1.5), in units of normalised pixels."""
    brightness, saturation, contrast = (u[:, n].view(-1, 1, 1, 1) for n in range(3))
    x = x + brightness - 0.5
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    middle = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - middle) * (contrast + 0.5) + middle


def crop(x: Tensor, u: Tensor) -> Tensor:
    """A shift by U(±1/8) of each side."""
    shift = (2 * u[:, :2] - 1) * 0.25
    return _warped(x, torch.eye(2, device=x.device).expand(len(x), 2, 2), shift)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """A box of half the side lengths set to 0, the mean colour (DeVries & Taylor 2017, arXiv:1708.04552)."""
    rows, columns = (
        (torch.arange(size, device=x.device) - (u[:, n : n + 1] * size).floor()).abs() <= size / 4
        for n, size in enumerate(x.shape[2:])
    )
    box = rows[:, None, :, None] & columns[:, None, None, :]
    return x * ~box


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Mirrored left to right with probability 1/2."""
    return torch.where((u[:, 0] < 0.5).view(-1, 1, 1, 1), x.flip(3), x)


def scale(x: Tensor, u: Tensor) -> Tensor:
    """Each side scaled by its own factor between 1/1.2 and 1.2."""
    factors = 1 / 1.2 + u[:, :2] * (1.2 - 1 / 1.2)
    return _warped(x, torch.diag_embed(factors), torch.zeros_like(factors))


def rotate(x: Tensor, u: Tensor) -> Tensor:
    """Rotated by U(±15°)."""
    angle = (2 * u[:, 0] - 1) * math.radians(15)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    return _warped(x, turn, torch.zeros(len(x), 2, device=x.device))


def _warped(x: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Images read at `linear` · place + `shift`, places from −1 to 1."""
    grid = F.affine_grid(torch.cat([linear, shift.unsqueeze(2)], dim=2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}
"""By name in a recipe: (images (N, C, H, W), uniform numbers (N, 3)) → images."""
