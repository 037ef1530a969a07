"""The small network that the papers on data distillation judge images with.

Gidaris & Komodakis 2018 (arXiv:1804.09458), as used in arXiv:2006.05929, section 3: blocks of convolution, instance norm, ReLU
and average pooling, then a linear head. Instance norm keeps one image's features free of the others in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compress.core.record import InputSpec


class ConvNet(nn.Module):
    """D blocks of W channels.

    Args:
        channels: Of the images.
        classes: K.
        size: Height and width of the images.
        width: W; 128 in the papers.
        depth: D; 3 in the papers, for images of 32 × 32.
    """

    def __init__(self, channels: int, classes: int, size: Sequence[int], *, width: int, depth: int) -> None:
        super().__init__()
        blocks = []
        for number in range(depth):
            convolution = nn.Conv2d(channels if number == 0 else width, width, 3, padding=1)
            blocks.append(nn.Sequential(convolution, nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)))
        self.body = nn.Sequential(*blocks, nn.Flatten())
        height, across = (side >> depth for side in size)
        self.head = nn.Linear(width * height * across, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the head is given, (N, D)."""
        found: Tensor = self.body(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, K)."""
        found: Tensor = self.head(self.body(x))
        return found


def deepest(spec: InputSpec) -> int:
    """Most blocks that images of this size allow: each halves them, and the norm of the last needs 2 × 2 pixels."""
    return max(1, min(spec.height, spec.width).bit_length() - 1)
