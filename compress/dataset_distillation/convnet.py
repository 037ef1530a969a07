"""The small network of the papers on dataset distillation.

Gidaris & Komodakis 2018 (arXiv:1804.09458), as used in arXiv:2006.05929, section 3: blocks of convolution, instance norm, ReLU
and average pooling, then a linear head. With instance norm, the features of an image do not depend
on the other images of its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compress.core.network_spec import NetworkSpec


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
        for index in range(depth):
            convolution = nn.Conv2d(channels if index == 0 else width, width, 3, padding=1)
            blocks.append(nn.Sequential(convolution, nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)))
        self.body = nn.Sequential(*blocks, nn.Flatten())
        height, columns = (side >> depth for side in size)
        self.head = nn.Linear(width * height * columns, classes)

    def features(self, x: Tensor) -> Tensor:
        """Input of the head, (N, D)."""
        output: Tensor = self.body(x)
        return output

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, K)."""
        output: Tensor = self.head(self.body(x))
        return output


def max_depth(spec: NetworkSpec) -> int:
    """Maximum number of blocks for images of this size: each block halves them, and the norm of the last needs 2 × 2 pixels."""
    return max(1, min(spec.height, spec.width).bit_length() - 1)
