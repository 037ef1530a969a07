"""What a picture shows over an image: boxes of objects, or the class of each pixel. Light: numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compress.data.batch import Tensors


@dataclass(frozen=True, eq=False)
class Boxes:
    """Objects in an image.

    Attributes:
        corners: (x₁, y₁, x₂, y₂) in pixels of the network's input, (M, 4).
        classes: int64 (M,).
        scores: In [0, 1], (M,); None for true boxes.
    """

    corners: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32] | None = None


Mask = NDArray[np.int64]
"""Class of each pixel, (H, W), negative where it has none."""
Overlay = Boxes | Mask


@runtime_checkable
class HasOverlays(Protocol):
    """A task whose answers can be drawn over its images."""

    def overlays(self, outputs: Tensors) -> list[Overlay]:
        """What to draw of the outputs of a network, for each image of a batch."""

    def true_overlays(self, targets: Tensors) -> list[Overlay]:
        """What to draw of the targets, for each image of a batch."""
