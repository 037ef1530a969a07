"""torchvision's detectors of one stage, as networks with plain tensors in and out.

torchvision's own forward resizes, computes anchors, decodes and suppresses in Python, on lists of images. `AnchorDetector`
takes the backbone and the head out of one, and computes the anchors once, for one image size. Class logits have no background:
a detector that torchvision trains with one (SSDLite) is built for K classes without it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD

from compress.core.errors import ModelError
from compress.models.detectors import PRIOR, DetectorOutputs, repeat_anchors

SSD_OFFSET_SCALE = (0.1, 0.1, 0.2, 0.2)
"""SSD's regression head gives offsets t times (10, 10, 5, 5)."""


class AnchorDetector(nn.Module):
    """Backbone and head of a torchvision detector.

    Args:
        detector: With `backbone`, `head` and `anchor_generator`; its other parts are dropped.
        size: (height, width) of the images, pixels.
        channels: Of the images.
        offset_scale: Factors of the head's four regression values that give offsets t.
    """

    def __init__(
        self,
        detector: SSD | RetinaNet,
        size: tuple[int, int],
        *,
        channels: int,
        offset_scale: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.backbone: nn.Module = detector.backbone
        self.head: nn.Module = detector.head
        anchors = _anchors(detector, size, channels)
        self.register_buffer("anchors", anchors)
        self.register_buffer("offset_scale", torch.tensor(offset_scale))
        self.anchors: Tensor
        self.offset_scale: Tensor

    def forward(self, image: Tensor) -> DetectorOutputs:
        """Class logits, offsets and anchors.

        Args:
            image: float32 (N, C, H, W), normalised.
        """
        outputs = self.head(list(self.backbone(image).values()))
        return outputs["cls_logits"], outputs["bbox_regression"] * self.offset_scale, repeat_anchors(self.anchors, image)


def _anchors(detector: SSD | RetinaNet, size: tuple[int, int], channels: int) -> Tensor:
    """The anchors that torchvision computes for an image of this size, (A, 4), pixels."""
    image = torch.zeros(1, channels, *size)
    training = detector.training
    detector.eval()
    with torch.no_grad():
        maps = list(detector.backbone(image).values())
        anchors: Tensor = detector.anchor_generator(ImageList(image, [size]), maps)[0]
    detector.train(training)
    return anchors


def ssdlite320_mobilenet_v3_large(classes: int, size: tuple[int, int], *, channels: int = 3, **arguments: object) -> nn.Module:
    """SSDLite with a MobileNetV3-Large backbone (arXiv:1905.02244), for any image size.

    Args:
        classes: K.
        size: (height, width), pixels.
        channels: Of the images; 3.
        arguments: Of torchvision's builder.
    """
    _refuse_grey("ssdlite320_mobilenet_v3_large", channels)
    build = detection.ssdlite320_mobilenet_v3_large
    detector = build(weights=None, weights_backbone=None, num_classes=classes, **arguments)
    for layer in detector.head.classification_head.module_list:  # the bias of a softmax with background is no prior
        nn.init.constant_(layer[-1].bias, float(torch.logit(torch.tensor(PRIOR))))
    return AnchorDetector(detector, size, channels=channels, offset_scale=SSD_OFFSET_SCALE)


def retinanet_resnet50_fpn(classes: int, size: tuple[int, int], *, channels: int = 3, **arguments: object) -> nn.Module:
    """RetinaNet with a ResNet-50 FPN backbone (arXiv:1708.02002), batch norm not frozen.

    Args:
        classes: K.
        size: (height, width), pixels.
        channels: Of the images; 3.
        arguments: Of torchvision's builder.
    """
    _refuse_grey("retinanet_resnet50_fpn", channels)
    detector = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=classes, **arguments)
    return AnchorDetector(detector, size, channels=channels)


def _refuse_grey(name: str, channels: int) -> None:
    if channels != 3:
        msg = f"detector:{name} takes images of 3 channels, the data has {channels}; set data.channels to 3"
        raise ModelError(msg)
