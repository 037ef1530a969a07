"""torchvision's Faster R-CNN, and a small detector of two stages, as networks with plain tensors in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torchvision import models
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.detectors import SmallPyramid, check_sides
from compress.models.settings import ModelSettings
from compress.models.sources.torchvision_weights import download_weights, find_weights, other_normalisation
from compress.models.two_stage_detectors import TwoStageDetector

CHANNELS = 3
"""Of the images of torchvision's networks."""
PREDICTOR = "roi_heads.box_predictor"
"""The last two layers of the second stage."""
STAGES = ("layer1", "layer2", "layer3", "layer4")
"""Stages of a ResNet whose maps the pyramid reads, strides 4 to 32."""


def small_two_stage(
    classes: int,
    size: tuple[int, int],
    *,
    channels: int = 3,
    width: int = 16,
    depth: int = 1,
    anchors: Sequence[Sequence[float]] = ((0.16, 0.26), (0.38, 0.55)),
    proposals: int = 32,
    pooled: int = 5,
    representation: int = 64,
) -> nn.Module:
    """A small detector of two stages: the pyramid of `detector:small`, and the two stages of Faster R-CNN.

    Args:
        classes: K.
        size: (height, width) of the images, pixels; multiples of 16.
        channels: Of the images.
        width: Of the pyramid, see `compress.models.detectors.SmallPyramid`.
        depth: Of the pyramid.
        anchors: Sizes of the anchors of both levels as fractions of the image's shorter side, as many for each.
        proposals: P.
        pooled: Side of the features of a proposal.
        representation: Width of the two layers of the second stage.
    """
    check_sides(size)
    pyramid = SmallPyramid(channels=channels, width=width, depth=depth)
    sides = tuple(tuple(round(side * min(size)) for side in level) for level in anchors)
    border = (max(sides[0]) + min(sides[1])) // 2
    detector = FasterRCNN(
        pyramid,
        rpn_anchor_generator=AnchorGenerator(sides, ((1.0,),) * len(sides)),
        rpn_pre_nms_top_n_test=4 * proposals,
        rpn_post_nms_top_n_test=proposals,
        rpn_batch_size_per_image=64,
        rpn_fg_iou_thresh=0.6,
        box_roi_pool=MultiScaleRoIAlign(["0", "1"], pooled, 2, canonical_scale=border, canonical_level=4),
        box_head=TwoMLPHead(pyramid.out_channels * pooled**2, representation),
        box_predictor=FastRCNNPredictor(representation, classes + 1),
        box_batch_size_per_image=proposals,
    )
    return TwoStageDetector(detector, size, channels=channels)


def _faster_rcnn(name: str) -> Callable[..., nn.Module]:
    """The builder of a Faster R-CNN of torchvision."""

    def construct(
        classes: int,
        size: tuple[int, int],
        *,
        channels: int = 3,
        proposals: int | None = None,
        backbone: str | None = None,
        fpn_channels: int = 256,
        anchor_scale: float = 1.0,
        representation: int = 1024,
        weights_backbone: str | None = None,
        trainable_backbone_layers: int | None = None,
    ) -> nn.Module:
        _refuse_grey(name, channels)
        own = (backbone, fpn_channels, anchor_scale, representation) == (None, 256, 1.0, 1024)
        if own:
            detector = models.get_model(
                name,
                weights=None,
                weights_backbone=weights_backbone,
                trainable_backbone_layers=trainable_backbone_layers,
                num_classes=classes + 1,
            )
            thaw_batchnorms(detector)
            return TwoStageDetector(detector, size, channels=channels, proposals=proposals)
        if weights_backbone is not None or trainable_backbone_layers is not None:
            msg = gettext(
                "weights_backbone and trainable_backbone_layers are for torchvision's own network; leave one of both out"
            )
            raise ValueError(msg)
        if name != RESNET:
            msg = gettext("backbone, fpn_channels, anchor_scale and representation are for {name}", name=RESNET)
            raise ValueError(msg)
        pyramid = _pyramid(backbone or "resnet50", fpn_channels)
        detector = _scaled_faster_rcnn(pyramid, classes, anchor_scale, representation)
        return TwoStageDetector(detector, size, channels=channels, proposals=proposals)

    construct.__doc__ = f"""torchvision's {name}, batch norm not frozen.

    Args:
        classes: K.
        size: (height, width), pixels.
        channels: Of the images; 3.
        proposals: P; None for torchvision's number.
        backbone: Another ResNet of torchvision, such as `resnet18`.
        fpn_channels: Of the feature pyramid.
        anchor_scale: Factor of the sides of the anchors and of s₀ of the pyramid; 1 is for images of 800 pixels.
        representation: Width of the two layers of the second stage.
        weights_backbone: Of torchvision, such as `DEFAULT`; None for fresh ones.
        trainable_backbone_layers: Layers of such a backbone that are not frozen.
    """
    return construct


RESNET = "fasterrcnn_resnet50_fpn"
BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    name: _faster_rcnn(name)
    for name in (
        RESNET,
        "fasterrcnn_resnet50_fpn_v2",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
    )
}
"""Builders by torchvision's names."""


def _pyramid(backbone: str, fpn_channels: int) -> BackboneWithFPN:
    """A ResNet with a feature pyramid of strides 4 to 64, no layer and no batch norm frozen."""
    network = models.get_model(backbone, weights=None)
    if not isinstance(network, models.ResNet):
        msg = gettext("backbone {backbone!r} is no ResNet", backbone=backbone)
        raise TypeError(msg)
    inputs = [network.inplanes // 8 * 2**index for index in range(len(STAGES))]
    layers = {layer: str(index) for index, layer in enumerate(STAGES)}
    return BackboneWithFPN(network, layers, inputs, fpn_channels, extra_blocks=LastLevelMaxPool())


def _scaled_faster_rcnn(pyramid: BackboneWithFPN, classes: int, scale: float, representation: int) -> FasterRCNN:
    sizes = tuple((max(1, round(side * scale)),) for side in (32, 64, 128, 256, 512))
    return FasterRCNN(
        pyramid,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2, canonical_scale=max(1, round(224 * scale))),
        box_head=TwoMLPHead(pyramid.out_channels * 7**2, representation),
        box_predictor=FastRCNNPredictor(representation, classes + 1),
    )


def pretrained(name: str, settings: ModelSettings, spec: NetworkSpec) -> tuple[nn.Module, tuple[Fact, ...]]:
    """A Faster R-CNN with torchvision's weights, and notes on them.

    All layers have these weights; for data with another number of classes the last two layers of the second stage are fresh.

    Args:
        name: torchvision's.
        settings: With `weights`, and `args` of `proposals` alone.
        spec: Classes and images of the data.

    Raises:
        ModelError: Unknown weights, no download, other arguments, or grey images.
    """
    _refuse_grey(name, spec.channels)
    arguments = dict(settings.args)
    proposals = arguments.pop("proposals", None)
    if arguments or not (proposals is None or isinstance(proposals, int)):
        msg = gettext(
            "torchvision:{name} with weights takes only args {{proposals: N}}, not {args}; leave one of both out",
            name=name,
            args=settings.args,
        )
        raise ModelError(msg)
    entry = find_weights(name, str(settings.weights))
    download_weights(name, entry, arguments=gettext("data of {count} classes", count=len(entry.meta["categories"]) - 1))
    detector = models.get_model(name, weights=entry, trainable_backbone_layers=None)
    thaw_batchnorms(detector)
    detector.requires_grad_(requires_grad=True)
    notes = other_normalisation(detector.transform.image_mean, detector.transform.image_std, spec)
    given = len(entry.meta["categories"]) - 1
    if given != len(spec.classes):
        inputs = detector.roi_heads.box_predictor.cls_score.in_features
        detector.roi_heads.box_predictor = FastRCNNPredictor(inputs, len(spec.classes) + 1)
        notes = (*notes, Fact.of("models.classes_fitted", PREDICTOR, before=given, after=len(spec.classes)))
    size = (spec.height, spec.width)
    return TwoStageDetector(detector, size, channels=spec.channels, proposals=proposals), notes


@torch.no_grad()
def thaw_batchnorms(module: nn.Module) -> None:
    """Replace frozen batch norms by ordinary ones with the same function in eval mode, in place, to prune and fold them."""
    for name, part in list(module.named_modules()):
        if not isinstance(part, FrozenBatchNorm2d):
            continue
        norm = nn.BatchNorm2d(len(part.weight), eps=part.eps)
        norm.weight.copy_(part.weight)
        norm.bias.copy_(part.bias)
        norm.load_state_dict({**norm.state_dict(), "running_mean": part.running_mean, "running_var": part.running_var})
        module.set_submodule(name, norm.train(part.training))


def _refuse_grey(name: str, channels: int) -> None:
    if channels != CHANNELS:
        msg = gettext(
            "torchvision's {name} takes images of 3 channels, the data has {channels}; set data.channels to 3",
            name=name,
            channels=channels,
        )
        raise ModelError(msg)
