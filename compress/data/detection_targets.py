"""Targets of detection: names, and padding of true boxes to tensors of one size. Light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from compress.data.batch import Tensors

BOXES, CLASSES = "boxes", "classes"
"""Names of the targets: float32 (N, M, 4), corners (x₁, y₁, x₂, y₂) in pixels of the network's input, and int64 (N, M)."""
NO_OBJECT = -1
"""Class of padding."""


def pad_objects(objects: Sequence[tuple[Tensor, Tensor]], most: int) -> Tensors:
    """Boxes and classes of N images in two tensors.

    Args:
        objects: Boxes (m, 4) and classes int64 (m,) of each image.
        most: M, at least the largest m.
    """
    import torch

    boxes = torch.zeros(len(objects), most, 4)
    classes = torch.full((len(objects), most), NO_OBJECT, dtype=torch.int64)
    for row, (own_boxes, own_classes) in enumerate(objects):
        boxes[row, : len(own_boxes)] = own_boxes
        classes[row, : len(own_classes)] = own_classes
    return {BOXES: boxes, CLASSES: classes}
