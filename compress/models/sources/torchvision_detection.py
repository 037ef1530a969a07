"""torchvision's detectors as networks with plain tensors in and out: those of one stage, and Faster R-CNN by its own file.

torchvision's own forward resizes, computes anchors, decodes and suppresses in Python, on lists of images. The wrappers here
take the backbone and the head out of one, and compute the anchors once, for one image size. Class logits have no background:
a detector that torchvision trains with one (SSDLite) is built for K classes without it. All are trained by the loss and the
matching of the task, whatever torchvision's own are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn
from torchvision import models
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from compress.core.errors import ModelError, nearest
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.anchor_detectors import AnchorDetector, FcosDetector
from compress.models.detectors import PRIOR
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings
from compress.models.sources import torchvision_two_stage

NETWORKS = detection
"""The module whose networks these are."""
SSD_OFFSET_SCALE = (0.1, 0.1, 0.2, 0.2)
"""SSD's regression head gives offsets t times (10, 10, 5, 5)."""
MASKS = "its masks have no metric, loss or output in the task detection; use its detector, fasterrcnn_resnet50_fpn, or another"
KEYPOINTS = (
    "its keypoints have no metric, loss or output in the task detection; use its detector, fasterrcnn_resnet50_fpn, or another"
)
SIZE_300 = "its anchors are laid out for images of 300 pixels; use ssdlite320_mobilenet_v3_large, which takes any size"
REFUSED: Mapping[str, str] = {
    "maskrcnn_resnet50_fpn": MASKS,
    "maskrcnn_resnet50_fpn_v2": MASKS,
    "keypointrcnn_resnet50_fpn": KEYPOINTS,
    "ssd300_vgg16": SIZE_300,
}
"""Detectors that cannot take part, and why."""


def _pyramid(backbone: str, fpn_channels: int = 256) -> BackboneWithFPN:
    """A ResNet with a feature pyramid of strides 8 to 128, no layer and no batch norm frozen."""
    network = models.get_model(backbone, weights=None)
    if not isinstance(network, models.ResNet):
        msg = gettext("backbone {backbone!r} is no ResNet", backbone=backbone)
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
            msg = gettext(
                "weights_backbone and trainable_backbone_layers are for torchvision's own backbone; leave one of both out"
            )
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
    **torchvision_two_stage.BUILDERS,
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
        msg = gettext(
            "{source}:{name} cannot take part: {refused}: {builders}",
            source=source,
            name=name,
            refused=gettext(REFUSED[name]),
            builders=", ".join(builders),
        )
        raise ModelError(msg)
    if name not in builders:
        msg = gettext("there is no detector {name!r}: {hint}", name=name, hint=nearest(name, builders))
        raise ModelError(msg)
    if settings.weights is not None and name in torchvision_two_stage.BUILDERS:
        module, notes = torchvision_two_stage.pretrained(name, settings, spec)
        return UnfittedModel(module, 0, notes)
    if settings.weights is not None:
        msg = gettext(
            "{source}:{name} takes no weights, and {weights!r} is given: those of torchvision are for the classes of "
            "COCO; leave weights out, or give args.weights_backbone for a backbone with weights",
            source=source,
            name=name,
            weights=settings.weights,
        )
        raise ModelError(msg)
    try:
        module = builders[name](len(spec.classes), (spec.height, spec.width), channels=spec.channels, **settings.args)
    except OSError as error:  # URLError: weights of the backbone
        msg = gettext(
            "cannot download what {source}:{name} with {args} needs ({error}); leave weights_backbone out",
            source=source,
            name=name,
            args=settings.args,
            error=error,
        )
        raise ModelError(msg) from error
    except (TypeError, ValueError) as error:
        msg = gettext(
            "{source}:{name} cannot be built with {args} for {height}×{width} pixels: {error}",
            source=source,
            name=name,
            args=settings.args,
            height=spec.height,
            width=spec.width,
            error=error,
        )
        raise ModelError(msg) from error
    return UnfittedModel(module, 0)


def _refuse_grey(name: str, channels: int) -> None:
    if channels != 3:
        msg = gettext(
            "torchvision's {name} takes images of 3 channels, the data has {channels}; set data.channels to 3",
            name=name,
            channels=channels,
        )
        raise ModelError(msg)
