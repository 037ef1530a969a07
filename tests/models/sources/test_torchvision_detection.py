"""torchvision's detectors with plain outputs, against torchvision's own decoding."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import detection

from compress.core.errors import ModelError
from compress.models.sources.torchvision_detection import SSD_OFFSET_SCALE, AnchorDetector, ssdlite320_mobilenet_v3_large
from compress.tasks.boxes import decode_boxes


def test_decoded_boxes_are_those_of_torchvision() -> None:
    """SSD's box coder on the head's regression, against the offsets of the wrapper."""
    torch.manual_seed(0)
    detector = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3).eval()
    network = AnchorDetector(detector, (320, 320), channels=3, offset_scale=SSD_OFFSET_SCALE).eval()
    image = torch.randn(1, 3, 320, 320)
    with torch.no_grad():
        logits, offsets, anchors = network(image)
        own = detector.head(list(detector.backbone(image).values()))
        expected = detector.box_coder.decode_single(own["bbox_regression"][0], anchors[0])
    assert torch.equal(logits, own["cls_logits"])
    assert logits.shape[:2] == anchors.shape[:2]
    assert torch.allclose(decode_boxes(offsets, anchors)[0], expected, atol=1e-3)


def test_scores_start_low_and_grey_images_are_refused() -> None:
    network = ssdlite320_mobilenet_v3_large(2, (96, 96)).eval()
    with torch.no_grad():
        logits, _, anchors = network(torch.zeros(1, 3, 96, 96))
    assert float(logits.sigmoid().mean()) < 0.05
    assert logits.shape[1] == anchors.shape[1]
    with pytest.raises(ModelError, match="3 channels, the data has 1"):
        ssdlite320_mobilenet_v3_large(2, (96, 96), channels=1)
