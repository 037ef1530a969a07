"""torchvision's detectors of one stage, as networks with plain tensors in and out.

torchvision's own forward resizes, computes anchors, decodes and suppresses in Python, on lists of images. The wrappers here
take the backbone and the head out of one, and compute the anchors once, for one image size. Class logits have no background:
a detector that torchvision trains with one (SSDLite) is built for K classes without it. All are trained by the loss and the
matching of the task, whatever torchvision's own are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.models.detection.ssd import SSD
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from compress.core.errors import ModelError, nearest
from compress.core.network_spec import NetworkSpec
from compress.models.detectors import PRIOR, DetectorOutputs, repeat_anchors
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings

NETWORKS = detection
"""The module whose networks these are."""
SSD_OFFSET_SCALE = (0.1, 0.1, 0.2, 0.2)
"""SSD's regression head gives offsets t times (10, 10, 5, 5)."""
FCOS_ANCHOR_SCALE = 4.0
"""Side of an anchor of FCOS in strides of its level, as of RetinaNet's smallest: FCOS itself matches by distances instead."""
LARGEST_LOG_SCORE = -1e-4
"""Of a logit that is made from a score: nearer to 1 the difference 1 − s loses its digits."""
TWO_STAGES = (
    "its second stage judges the regions that its first one proposes in each image, and the task detection needs outputs for "
    "anchors that are the same for every image: its loss, its distillation of answers and its export rest on them; use a "
    "detector of one stage"
)
SIZE_300 = "its anchors are laid out for images of 300 pixels; use ssdlite320_mobilenet_v3_large, which takes any size"
REFUSED: Mapping[str, str] = {
    "fasterrcnn_resnet50_fpn": TWO_STAGES,
    "fasterrcnn_resnet50_fpn_v2": TWO_STAGES,
    "fasterrcnn_mobilenet_v3_large_fpn": TWO_STAGES,
    "fasterrcnn_mobilenet_v3_large_320_fpn": TWO_STAGES,
    "maskrcnn_resnet50_fpn": TWO_STAGES,
    "maskrcnn_resnet50_fpn_v2": TWO_STAGES,
    "keypointrcnn_resnet50_fpn": TWO_STAGES,
    "ssd300_vgg16": SIZE_300,
}
"""Detectors that cannot take part, and why."""


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
        log_score = log_score.clamp(max=LARGEST_LOG_SCORE)
        logits = log_score - (1 - log_score.exp()).log()
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


def _pyramid(backbone: str, fpn_channels: int = 256) -> BackboneWithFPN:
    """A ResNet with a feature pyramid of strides 8 to 128, no layer and no batch norm frozen."""
    network = models.get_model(backbone, weights=None)
    if not isinstance(network, models.ResNet):
        msg = f"backbone {backbone!r} is no ResNet"
        raise TypeError(msg)
    inputs = [network.inplanes // 4, network.inplanes // 2, network.inplanes]
    layers = {"layer2": "0", "layer3": "1", "layer4": "2"}
    last = LastLevelP6P7(fpn_channels, fpn_channels)
    return BackboneWithFPN(network, layers, inputs, fpn_channels, extra_blocks=last)


def ssdlite320_mobilenet_v3_large(
    classes: int,
    size: tuple[int, int],
    *,
    channels: int = 3,
    weights_backbone: str | None = None,
    trainable_backbone_layers: int | None = None,
) -> nn.Module:
    """SSDLite with a MobileNetV3-Large backbone (arXiv:1905.02244), for any image size.

    Args:
        classes: K.
        size: (height, width), pixels.
        channels: Of the images; 3.
        weights_backbone: Of torchvision, such as `DEFAULT`; None for fresh ones.
        trainable_backbone_layers: Layers of such a backbone that are not frozen.
    """
    _refuse_grey("ssdlite320_mobilenet_v3_large", channels)
    detector = detection.ssdlite320_mobilenet_v3_large(
        weights=None,
        weights_backbone=weights_backbone,
        trainable_backbone_layers=trainable_backbone_layers,
        num_classes=classes,
    )
    for layer in detector.head.classification_head.module_list:  # the bias of a softmax with background is no prior
        nn.init.constant_(layer[-1].bias, float(torch.logit(torch.tensor(PRIOR))))
    return AnchorDetector(detector, size, channels=channels, offset_scale=SSD_OFFSET_SCALE)


def _retinanet_v2(backbone: BackboneWithFPN, classes: int) -> nn.Module:
    """RetinaNet whose head has group norms."""
    retinanet = detection.RetinaNet(backbone, classes)
    anchors = retinanet.anchor_generator.num_anchors_per_location()[0]
    retinanet.head = RetinaNetHead(backbone.out_channels, anchors, classes, norm_layer=partial(nn.GroupNorm, 32))
    detector: nn.Module = retinanet
    return detector


def _with_pyramid(
    name: str, of_backbone: Callable[..., nn.Module], wrapper: Callable[..., nn.Module]
) -> Callable[..., nn.Module]:
    """The builder of a detector with a ResNet and a feature pyramid."""

    def construct(
        classes: int,
        size: tuple[int, int],
        *,
        channels: int = 3,
        backbone: str | None = None,
        fpn_channels: int = 256,
        weights_backbone: str | None = None,
        trainable_backbone_layers: int | None = None,
    ) -> nn.Module:
        _refuse_grey(name, channels)
        if backbone is None and fpn_channels == 256:
            detector = models.get_model(
                name,
                weights=None,
                weights_backbone=weights_backbone,
                trainable_backbone_layers=trainable_backbone_layers,
                num_classes=classes,
            )
            return wrapper(detector, size, channels=channels)
        if weights_backbone is not None or trainable_backbone_layers is not None:
            msg = "weights_backbone and trainable_backbone_layers are for torchvision's own backbone; leave one of both out"
            raise ValueError(msg)
        pyramid = _pyramid(backbone or "resnet50", fpn_channels)
        return wrapper(of_backbone(pyramid, classes), size, channels=channels)

    construct.__doc__ = f"""torchvision's {name}, batch norm not frozen.

    Args:
        classes: K.
        size: (height, width), pixels.
        channels: Of the images; 3.
        backbone: Another ResNet of torchvision, such as `resnet18`.
        fpn_channels: Of the feature pyramid; multiples of 32, and more than 32 where maps of one pixel occur (group norm).
        weights_backbone: Of torchvision, such as `DEFAULT`; None for fresh ones.
        trainable_backbone_layers: Layers of such a backbone that are not frozen.
    """
    return construct


retinanet_resnet50_fpn = _with_pyramid("retinanet_resnet50_fpn", detection.RetinaNet, AnchorDetector)
retinanet_resnet50_fpn_v2 = _with_pyramid("retinanet_resnet50_fpn_v2", _retinanet_v2, AnchorDetector)
fcos_resnet50_fpn = _with_pyramid("fcos_resnet50_fpn", detection.FCOS, FcosDetector)
BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "ssdlite320_mobilenet_v3_large": ssdlite320_mobilenet_v3_large,
    "retinanet_resnet50_fpn": retinanet_resnet50_fpn,
    "retinanet_resnet50_fpn_v2": retinanet_resnet50_fpn_v2,
    "fcos_resnet50_fpn": fcos_resnet50_fpn,
}
"""Builders by torchvision's names."""


def build(name: str, settings: ModelSettings, spec: NetworkSpec) -> UnfittedModel:
    """Build a detector of torchvision for the data's classes and image size.

    Raises:
        ModelError: Unknown or refused name, weights, or arguments that do not fit.
    """
    return build_detector(name, settings, spec, "torchvision", BUILDERS)


def build_detector(
    name: str, settings: ModelSettings, spec: NetworkSpec, source: str, builders: Mapping[str, Callable[..., nn.Module]]
) -> UnfittedModel:
    """Build a detector for the data's classes and image size.

    Args:
        name: Of the detector.
        settings: Its arguments.
        spec: Classes and images of the data.
        source: Names the source in messages.
        builders: By name.

    Raises:
        ModelError: Unknown or refused name, weights, or arguments that do not fit.
    """
    if name in REFUSED:
        msg = f"{source}:{name} cannot take part: {REFUSED[name]}: {', '.join(builders)}"
        raise ModelError(msg)
    if name not in builders:
        msg = f"there is no detector {name!r}: {nearest(name, builders)}"
        raise ModelError(msg)
    if settings.weights is not None:
        msg = (
            f"{source}:{name} takes no weights, and {settings.weights!r} is given: those of torchvision are for the classes of "
            "COCO; leave weights out, or give args.weights_backbone for a backbone with weights"
        )
        raise ModelError(msg)
    try:
        module = builders[name](len(spec.classes), (spec.height, spec.width), channels=spec.channels, **settings.args)
    except OSError as error:  # URLError: weights of the backbone
        msg = f"cannot download what {source}:{name} with {settings.args} needs ({error}); leave weights_backbone out"
        raise ModelError(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"{source}:{name} cannot be built with {settings.args} for {spec.height}×{spec.width} pixels: {error}"
        raise ModelError(msg) from error
    return UnfittedModel(module, 0)


def _refuse_grey(name: str, channels: int) -> None:
    if channels != 3:
        msg = f"torchvision's {name} takes images of 3 channels, the data has {channels}; set data.channels to 3"
        raise ModelError(msg)
