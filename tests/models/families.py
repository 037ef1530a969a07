"""One small member of every classification family of torchvision."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """A member, the image size to test it at, and arguments that make it small.

    `size` is 32 pixels, or the smallest that the network takes where that is larger.
    """

    name: str
    size: int = 32
    args: dict[str, Any] = field(default_factory=dict)


FAMILIES = (
    Family("alexnet", size=63),
    Family("convnext_tiny"),
    Family("densenet121"),
    Family("efficientnet_b0"),
    Family("efficientnet_v2_s"),
    Family("googlenet"),
    Family("inception_v3", size=75),
    Family("maxvit_t"),
    Family("mnasnet0_5"),
    Family("mobilenet_v2", args={"width_mult": 0.5}),
    Family("mobilenet_v3_small"),
    Family("regnet_x_400mf"),
    Family("regnet_y_400mf"),
    Family("resnet18"),
    Family("resnext50_32x4d"),
    Family("shufflenet_v2_x0_5"),
    Family("squeezenet1_1"),
    Family("swin_t"),
    Family("swin_v2_t"),
    Family("vgg11"),
    Family("vgg11_bn"),
    Family("vit_b_16", args={"patch_size": 8, "num_layers": 2}),
    Family("wide_resnet50_2"),
)


def family_of(name: str) -> str:
    """Name of a torchvision network without its size: `vgg11_bn` and `vgg19_bn` are `vgg_bn`."""
    kinds = (
        "efficientnet_v2",
        "mobilenet_v2",
        "mobilenet_v3",
        "regnet_x",
        "regnet_y",
        "shufflenet_v2",
        "swin_v2",
        "wide_resnet",
    )
    kind = next((kind for kind in kinds if name.startswith(kind)), re.split(r"[\d_]", name)[0])
    return f"{kind}_bn" if name.endswith("_bn") else kind
