"""torchvision's detectors of one stage with plain tensors in and out: backbone, head, and anchors computed once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD

from compress.models.detectors import DetectorOutputs, logits_of_log_scores, repeat_anchors

FCOS_ANCHOR_SCALE = 4.0
"""Side of an anchor of FCOS in strides of its level, as of RetinaNet's smallest: FCOS itself matches by distances instead."""


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


class FcosDetector(nn.Module):
    """Backbone and head of torchvision's FCOS (Tian et al. 2019, arXiv:1904.01355), in the form of a detector with anchors.

    For a place with distances l, t, r, b to the sides of a box, in strides s, class logit c and centreness logit h:

        z = log q − log(1 − q),  q = √(σ(c) · σ(h))     t_x = (r − l) / 2m,   t_w = log((l + r) / m),   m = 4

    and t_y, t_h likewise, so that σ(z) is FCOS's score and the decoded box is FCOS's box; anchors are squares of m · s.

    Args:
        detector: torchvision's FCOS; its other parts are dropped.
        size: (height, width) of the images, pixels.
        channels: Of the images.
    """

    def __init__(self, detector: SSD | RetinaNet | FCOS, size: tuple[int, int], *, channels: int) -> None:
        super().__init__()
        self.backbone: nn.Module = detector.backbone
        self.head: nn.Module = detector.head
        anchors = _anchors(detector, size, channels)
        centre = (anchors[:, :2] + anchors[:, 2:]) / 2
        half = (anchors[:, 2:] - anchors[:, :2]) / 2 * FCOS_ANCHOR_SCALE
        self.register_buffer("anchors", torch.cat([centre - half, centre + half], dim=1))
        self.anchors: Tensor

    def forward(self, image: Tensor) -> DetectorOutputs:
        """Class logits, offsets and anchors.

        Args:
            image: float32 (N, C, H, W), normalised.
        """
        outputs = self.head(list(self.backbone(image).values()))
        log_score = (F.logsigmoid(outputs["cls_logits"]) + F.logsigmoid(outputs["bbox_ctrness"])) / 2
        logits = logits_of_log_scores(log_score)
        distances = outputs["bbox_regression"] / FCOS_ANCHOR_SCALE
        low, high = distances[..., :2], distances[..., 2:]
        offsets = torch.cat([(high - low) / 2, (low + high).clamp(min=1e-3).log()], dim=-1)
        return logits, offsets, repeat_anchors(self.anchors, image)


def _anchors(detector: SSD | RetinaNet | FCOS, size: tuple[int, int], channels: int) -> Tensor:
    """The anchors that torchvision computes for an image of this size, (A, 4), pixels."""
    image = torch.zeros(1, channels, *size)
    training = detector.training
    detector.eval()
    with torch.no_grad():
        maps = list(detector.backbone(image).values())
        anchors: Tensor = detector.anchor_generator(ImageList(image, [size]), maps)[0]
    detector.train(training)
    return anchors
