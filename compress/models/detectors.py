"""Detectors with plain tensors in and out: an own small one, and the parts that wrappers of other detectors share.

Every detector here returns (class logits, offsets, anchors) as `compress.tasks.detection` describes. Its anchors are a buffer
for one image size, which is part of the network: for another size it is built anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.language import gettext

PRIOR = 0.01
"""Score of every class at the start, so that background does not dominate the first steps (arXiv:1708.02002, section 4.1)."""
LARGEST_LOG_SCORE = -1e-4
"""Of a logit that is made from a score: nearer to 1 the difference 1 − s loses its digits."""
DetectorOutputs = tuple[Tensor, Tensor, Tensor]


class SmallPyramid(nn.Module):
    """A convolutional backbone and a two-level feature pyramid.

        image ─ stem /2 ─ stage /4 ─ stage /8 ──────────► + ─ 3×3 ─► level /8
                                        └─ stage /16 ─┬─ upsampled ─┘
                                                      └────────────► level /16

    as in Lin et al. 2017, Feature Pyramid Networks, arXiv:1612.03144.

    Args:
        channels: Of the images.
        width: Channels of the stem and of the stage at /4; twice as many at /8 and in the pyramid, four times at /16.
        depth: Convolutions of each stage after its first.

    Attributes:
        out_channels: Of the pyramid.
    """

    def __init__(self, *, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = _convolution(channels, width, stride=2)
        self.stage4 = _stage(width, width, depth)
        self.stage8 = _stage(width, 2 * width, depth)
        self.stage16 = _stage(2 * width, 4 * width, depth)
        self.lateral8 = _convolution(2 * width, 2 * width, kernel=1)
        self.lateral16 = _convolution(4 * width, 2 * width, kernel=1)
        self.neck8 = _convolution(2 * width, 2 * width)
        self.out_channels = 2 * width

    def levels(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of strides 8 and 16.

        Args:
            image: float32 (N, C, H, W), normalised; H and W are multiples of 16.
        """
        level8 = self.stage8(self.stage4(self.stem(image)))
        level16 = self.lateral16(self.stage16(level8))
        return self.neck8(self.lateral8(level8) + F.interpolate(level16, scale_factor=2.0, mode="nearest")), level16

    def forward(self, image: Tensor) -> object:
        """The maps by the names `0` and `1`; see `levels`."""
        level8, level16 = self.levels(image)
        return {"0": level8, "1": level16}


class SmallDetector(SmallPyramid):
    """A small feature pyramid and a head for each level, for images of any fixed size.

    Each head is a 3×3 convolution and two of 1×1, for logits and offsets.

    Args:
        classes: K.
        size: (height, width) of the images, pixels; multiples of 16.
        channels: Of the images.
        width: See `SmallPyramid`.
        depth: See `SmallPyramid`.
        anchors: Sizes of the anchors of both levels as fractions of the image's shorter side.
    """

    def __init__(
        self,
        classes: int,
        size: tuple[int, int],
        *,
        channels: int = 3,
        width: int = 16,
        depth: int = 1,
        anchors: Sequence[Sequence[float]] = ((0.16, 0.24), (0.34, 0.46)),
    ) -> None:
        check_sides(size)
        super().__init__(channels=channels, width=width, depth=depth)
        self.head8 = _Head(2 * width, classes, len(anchors[0]))
        self.head16 = _Head(2 * width, classes, len(anchors[1]))
        maps = [(size[0] // stride, size[1] // stride) for stride in (8, 16)]
        shorter = min(size)
        levels = [
            grid_anchors(grid, size, [(side * shorter, side * shorter) for side in sides])
            for grid, sides in zip(maps, anchors, strict=True)
        ]
        self.register_buffer("anchors", torch.cat(levels))
        self.anchors: Tensor

    def forward(self, image: Tensor) -> DetectorOutputs:
        """Class logits, offsets and anchors.

        Args:
            image: float32 (N, C, H, W), normalised.
        """
        level8, level16 = self.levels(image)
        logits, offsets = zip(self.head8(level8), self.head16(level16), strict=True)
        return torch.cat(logits, dim=1), torch.cat(offsets, dim=1), repeat_anchors(self.anchors, image)


def check_sides(size: tuple[int, int]) -> None:
    """Check that a small pyramid takes images of this size.

    Raises:
        ValueError: A side is no multiple of 16 pixels.
    """
    if any(side % 16 for side in size):
        msg = gettext(
            "this detector takes images whose sides are multiples of 16 pixels, not {size}×{width}",
            size=size[0],
            width=size[1],
        )
        raise ValueError(msg)


class _Head(nn.Module):
    """Logits (N, A, K) and offsets (N, A, 4) of one level."""

    def __init__(self, channels: int, classes: int, anchors: int) -> None:
        super().__init__()
        self.shared = _convolution(channels, channels)
        self.logits = nn.Conv2d(channels, anchors * classes, 1)
        self.offsets = nn.Conv2d(channels, anchors * 4, 1)
        self.classes = classes
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.constant_(self.logits.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.normal_(self.offsets.weight, std=0.01)
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        level = self.shared(level)
        return as_rows(self.logits(level), self.classes), as_rows(self.offsets(level), 4)


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs, stride=2), *(_convolution(outputs, outputs) for _ in range(depth)))


def as_rows(maps: Tensor, values: int) -> Tensor:
    """Maps of a head, (N, k · values, h, w), as rows of anchors, (N, h · w · k, values), place by place."""
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, values)


def grid_anchors(grid: tuple[int, int], size: tuple[int, int], shapes: Sequence[tuple[float, float]]) -> Tensor:
    """Anchors of one level, (h · w · k, 4), pixels: k shapes at the centre of each cell.

    Args:
        grid: (h, w) of the map.
        size: (height, width) of the image, pixels.
        shapes: (width, height) of each anchor, pixels.
    """
    rows, columns = grid
    y = (torch.arange(rows) + 0.5) * (size[0] / rows)
    x = (torch.arange(columns) + 0.5) * (size[1] / columns)
    centres = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 1, 2)
    half = torch.tensor(shapes, dtype=torch.float32)[None] / 2
    return torch.cat([centres - half, centres + half], dim=-1).reshape(-1, 4)


def repeat_anchors(anchors: Tensor, image: Tensor) -> Tensor:
    """Anchors (A, 4) for each image of a batch, (N, A, 4)."""
    return anchors.unsqueeze(0).expand(image.shape[0], -1, -1)


def logits_of_log_scores(log_score: Tensor) -> Tensor:
    """Z = log s − log(1 − s) of log s, so that σ(z) is the score s; of at most `LARGEST_LOG_SCORE`."""
    log_score = log_score.clamp(max=LARGEST_LOG_SCORE)
    return log_score - (1 - log_score.exp()).log()
