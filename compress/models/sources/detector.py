"""`detector:NAME`: detectors with plain tensors in and out, and fresh weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from compress.core.errors import ModelError, nearest
from compress.core.network_spec import NetworkSpec
from compress.models.detectors import SmallDetector
from compress.models.factory import UnfittedModel
from compress.models.settings import ModelSettings
from compress.models.sources.torchvision_detection import retinanet_resnet50_fpn, ssdlite320_mobilenet_v3_large

if TYPE_CHECKING:
    from compress.tasks.base import Task

DETECTORS: Mapping[str, Callable[..., nn.Module]] = {
    "small": SmallDetector,
    "ssdlite320_mobilenet_v3_large": ssdlite320_mobilenet_v3_large,
    "retinanet_resnet50_fpn": retinanet_resnet50_fpn,
}
TWO_STAGES = (
    "its second stage sees as many regions as the first one proposes in each image, which is no output of fixed size; use a "
    "detector of one stage"
)
REFUSED: Mapping[str, str] = {
    "fasterrcnn_resnet50_fpn": TWO_STAGES,
    "fasterrcnn_resnet50_fpn_v2": TWO_STAGES,
    "fasterrcnn_mobilenet_v3_large_fpn": TWO_STAGES,
    "fasterrcnn_mobilenet_v3_large_320_fpn": TWO_STAGES,
    "maskrcnn_resnet50_fpn": TWO_STAGES,
    "fcos_resnet50_fpn": "it has no anchors, and its score is a product of class and centreness",
}


def build(
    name: str,
    settings: ModelSettings,
    spec: NetworkSpec,
    *,
    task: Task | None = None,  # noqa: ARG001
    base: Path | None = None,  # noqa: ARG001
    trust_code: bool = False,  # noqa: ARG001
) -> UnfittedModel:
    """Build a detector for the data's classes and image size.

    Raises:
        ModelError: Unknown or refused name, or arguments that do not fit.
    """
    if name in REFUSED:
        msg = f"detector:{name} cannot take part: {REFUSED[name]}: {', '.join(DETECTORS)}"
        raise ModelError(msg)
    if name not in DETECTORS:
        msg = f"there is no detector {name!r}: {nearest(name, DETECTORS)}"
        raise ModelError(msg)
    try:
        module = DETECTORS[name](len(spec.classes), (spec.height, spec.width), channels=spec.channels, **settings.args)
    except (TypeError, ValueError) as error:
        msg = f"detector:{name} cannot be built with {settings.args} for {spec.height}×{spec.width} pixels: {error}"
        raise ModelError(msg) from error
    return UnfittedModel(module, 0)
