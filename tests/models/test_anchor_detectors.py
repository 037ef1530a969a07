"""torchvision's detectors with plain outputs, against torchvision's own decoding."""

import torch
from torchvision.models import detection

from compress.models.anchor_detectors import AnchorDetector, FcosDetector
from compress.models.sources.torchvision_detection import SSD_OFFSET_SCALE, fcos_resnet50_fpn
from compress.tasks.boxes import decode_boxes

TINY = {"backbone": "resnet18", "fpn_channels": 64}


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


def test_scores_and_boxes_of_fcos_are_those_of_torchvision() -> None:
    torch.manual_seed(0)
    network = fcos_resnet50_fpn(2, (64, 64), **TINY).eval()
    assert isinstance(network, FcosDetector)
    theirs = detection.FCOS(network.backbone, 2).eval()
    theirs.head = network.head
    torch.nn.init.normal_(network.head.regression_head.bbox_reg.bias, 2.0)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits, offsets, anchors = network(image)
        maps = list(network.backbone(image).values())
        own = network.head(maps)
        places = theirs.anchor_generator(detection.image_list.ImageList(image, [(64, 64)] * 2), maps)[0]
        expected = theirs.box_coder.decode(own["bbox_regression"][1], places)
        scores = (own["cls_logits"].sigmoid() * own["bbox_ctrness"].sigmoid()).sqrt()
    assert torch.allclose(logits.sigmoid(), scores, atol=1e-4)
    wide = own["bbox_regression"][1, :, :2] + own["bbox_regression"][1, :, 2:] > 0.01
    assert int(wide.all(1).sum()) > 40
    assert torch.allclose(decode_boxes(offsets, anchors)[1][wide.all(1)], expected[wide.all(1)], atol=1e-2)
