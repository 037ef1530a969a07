"""A small encoder and decoder for segmentation, and torchvision's segmentation networks with a plain tensor as output."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.language import gettext


class SmallSegmenter(nn.Module):
    """Residual encoder of `depth` resolutions and a decoder that adds them up, as in feature pyramids (arXiv:1612.03144).

        x ─ stem, stride 2 ─ e_1 ─ stride 2 ─ e_2 … e_d        d_d = e_d,   d_i = conv(up(d_{i+1})) + lateral(e_i)
        logits = up(head(d_1)), of the size of the image

    Args:
        num_classes: K.
        in_channels: C.
        width: Channels at half the resolution; twice as many at each further one.
        depth: Resolutions, from 1 to 6; the image is at least 2^depth pixels high and wide.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        if width < 1 or not 1 <= depth <= 6:
            msg = gettext("width {width} and depth {depth}; use width above 0 and depth from 1 to 6", width=width, depth=depth)
            raise ValueError(msg)
        widths = [width * 2**level for level in range(depth)]
        self.stem = _conv(in_channels, width, stride=2)
        self.encoder = nn.ModuleList(
            nn.Sequential(*([] if level == 0 else [_conv(widths[level - 1], widths[level], stride=2)]), _Block(widths[level]))
            for level in range(depth)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(wide, wide, 1) for wide in widths[:-1])
        self.decoder = nn.ModuleList(_conv(2 * wide, wide) for wide in widths[:-1])
        self.refine = _conv(width, width)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32 (N, K, H, W).

        Args:
            image: float32 (N, C, H, W), normalised.
        """
        x, skips = self.stem(image), list[Tensor]()
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            skip = skips[level]
            x = self.decoder[level](_resize(x, skip)) + self.lateral[level](skip)
        return _resize(self.head(self.refine(x)), image)


class _Block(nn.Module):
    """Two convolutions and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class MapsToLogits(nn.Module):
    """Backbone and classifier of a torchvision segmentation network, with the names of their weights; returns only logits.

    Args:
        network: FCN, DeepLabV3 or LR-ASPP; its auxiliary classifier is not used.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone = network.get_submodule("backbone")
        self.classifier = network.get_submodule("classifier")
        self.takes_all_maps = "low" in getattr(self.backbone, "return_layers", {}).values()

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32 (N, K, H, W).

        Args:
            image: float32 (N, C, H, W), normalised.
        """
        maps = self.backbone(image)
        return _resize(self.classifier(maps if self.takes_all_maps else maps["out"]), image)
