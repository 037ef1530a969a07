"""Features of boxes from the maps of a feature pyramid, with static shapes.

Each box is read from the level that fits its size:

    k = ⌊k₀ + log₂(√(w h) / s₀)⌋,   k₀ = 4, s₀ = 224 pixels

limited to the levels of the pyramid; level k has strides of 2^k pixels. Lin et al. 2017, arXiv:1612.03144, equation 1. All
boxes are read from all levels, and the right one is selected, since their number depends on the image: it costs
one more pass of RoIAlign (He et al. 2017, arXiv:1703.06870) for each further level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align

from compress.core.language import gettext

LEVEL_SLACK = 1e-6
"""Added before rounding down, as in torchvision."""
LEAST_SIDE = 1e-6
"""Side of boxes without area, such as padding, in pixels: the logarithm of 0 is not finite."""


@dataclass(frozen=True)
class RegionPooling:
    """Settings of the features of boxes.

    Attributes:
        scales: Size of each map as a fraction of the image, the largest first.
        output_size: (height, width) of the features.
        sampling: Samples along each side of a cell of the features.
        canonical_side: s₀, pixels.
        canonical_level: k₀.
    """

    scales: tuple[float, ...]
    output_size: tuple[int, int]
    sampling: int
    canonical_side: float
    canonical_level: int

    @classmethod
    def of(cls, pooler: MultiScaleRoIAlign, maps: Sequence[Tensor], size: tuple[int, int]) -> RegionPooling:
        """The settings of torchvision's module.

        Args:
            pooler: The module.
            maps: Maps of the levels for an image.
            size: (height, width) of the image, pixels.
        """
        scales = tuple(2.0 ** round(math.log2(level.shape[2] / size[0])) for level in maps)
        height, width = pooler.output_size
        return cls(scales, (height, width), pooler.sampling_ratio, pooler.canonical_scale, pooler.canonical_level)

    def levels(self, boxes: Tensor) -> Tensor:
        """Index of the map that each box is read from, int64, shape of `boxes` without the last axis."""
        side = (boxes[..., 2:] - boxes[..., :2]).prod(-1).sqrt().clamp(min=LEAST_SIDE)
        first, last = (round(-math.log2(scale)) for scale in (self.scales[0], self.scales[-1]))
        level = torch.floor(self.canonical_level + torch.log2(side / self.canonical_side) + LEVEL_SLACK)
        return level.clamp(first, last).to(torch.int64) - first

    def pool(self, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Features of boxes, (N · P, C, h, w), image by image.

        Args:
            maps: Maps of the levels, (N, C, H, W) each.
            boxes: (N, P, 4), pixels.
        """
        count = boxes.shape[1]
        images = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype).view(-1, 1, 1).expand(-1, count, 1)
        regions = torch.cat([images, boxes], dim=2).reshape(-1, 5)
        levels = self.levels(boxes).reshape(-1, 1, 1, 1)
        features: Tensor | None = None
        for index, (level, scale) in enumerate(zip(maps, self.scales, strict=True)):
            aligned = roi_align(level, regions, self.output_size, scale, self.sampling)
            features = aligned if features is None else torch.where(levels == index, aligned, features)
        if features is None:
            msg = gettext("features of boxes need at least one map")
            raise ValueError(msg)
        return features
