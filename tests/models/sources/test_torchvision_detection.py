"""torchvision's detectors by name: which are built, and which are refused."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import detection

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec, image_spec
from compress.models.anchor_detectors import AnchorDetector, FcosDetector
from compress.models.settings import ModelSettings
from compress.models.sources import torchvision
from compress.models.sources.torchvision_detection import (
    BUILDERS,
    REFUSED,
    fcos_resnet50_fpn,
    retinanet_resnet50_fpn,
    retinanet_resnet50_fpn_v2,
    ssdlite320_mobilenet_v3_large,
)
from compress.tasks.classification import Classification
from compress.tasks.detection import Detection

TINY = {"backbone": "resnet18", "fpn_channels": 64}


def spec(size: int = 64, channels: int = 3) -> NetworkSpec:
    names = ("a", "b")
    grey = (0.5,) * channels
    return image_spec(channels=channels, height=size, width=size, mean=grey, std=grey, classes=names, outputs=())


@pytest.mark.parametrize("build", [fcos_resnet50_fpn, retinanet_resnet50_fpn, retinanet_resnet50_fpn_v2])
def test_a_smaller_backbone_and_pyramid(build) -> None:  # type: ignore[no-untyped-def]
    network = build(2, (64, 64), **TINY).eval()
    assert not any("Frozen" in type(layer).__name__ for layer in network.modules())
    assert sum(weight.numel() for weight in network.parameters()) < 12e6
    with torch.no_grad():
        logits, offsets, anchors = network(torch.zeros(1, 3, 64, 64))
    assert logits.shape[1:] == (anchors.shape[1], 2)
    assert offsets.shape == anchors.shape
    assert bool(torch.isfinite(logits).all() and torch.isfinite(offsets).all())


def test_scores_start_low_and_grey_images_are_refused() -> None:
    network = ssdlite320_mobilenet_v3_large(2, (96, 96)).eval()
    with torch.no_grad():
        logits, _, anchors = network(torch.zeros(1, 3, 96, 96))
    assert float(logits.sigmoid().mean()) < 0.05
    assert logits.shape[1] == anchors.shape[1]
    with pytest.raises(ModelError, match="3 channels, the data has 1"):
        ssdlite320_mobilenet_v3_large(2, (96, 96), channels=1)


def built(name: str, task: Detection | Classification, **changes: object) -> torch.nn.Module:
    settings = ModelSettings.model_validate({"source": f"torchvision:{name}"} | changes)
    return torchvision.build(name, settings, spec(), task=task, base=None, trust_code=False).module  # type: ignore[arg-type]


def test_torchvision_names_serve_the_task() -> None:
    assert isinstance(built("fcos_resnet50_fpn", Detection(), args=TINY), FcosDetector)
    assert isinstance(built("ssdlite320_mobilenet_v3_large", Detection()), AnchorDetector)


@pytest.mark.parametrize(
    ("name", "task", "changes", "message"),
    [
        ("retinanet_resnet50_fpn", Classification(), {}, "is a network for detection, and the task is classification"),
        ("resnet18", Detection(), {}, "is a network for classification, and the task is detection"),
        ("fcos_resnet50", Detection(), {}, "has no network"),
        ("fcos_resnet50_fpn", Detection(), {"weights": "DEFAULT"}, "takes no weights, and 'DEFAULT' is given"),
        ("fcos_resnet50_fpn", Detection(), {"args": {"backbone": "vgg11"}}, "backbone 'vgg11' is no ResNet"),
        ("fcos_resnet50_fpn", Detection(), {"args": {"wide": 2}}, "cannot be built with"),
        ("fcos_resnet50_fpn", Detection(), {"args": {"weights_backbone": "DEFAULT", **TINY}}, "for torchvision's own backbone"),
    ],
)
def test_unfit_networks_are_refused(
    name: str, task: Detection | Classification, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        built(name, task, **changes)


def test_every_detector_of_torchvision_is_built_or_refused_with_one_sentence() -> None:
    from torchvision import models

    known = models.list_models(module=detection)
    assert sorted(known) == sorted((*BUILDERS, *REFUSED))
    for name in REFUSED:
        with pytest.raises(ModelError, match="cannot take part: its") as error:
            built(name, Detection())
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="its masks have no metric, loss or output in the task detection"):
        built("maskrcnn_resnet50_fpn", Detection())
