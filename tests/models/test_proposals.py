"""Proposals of fixed number against torchvision's first stage."""

from __future__ import annotations

import torch
from torchvision.models.detection.image_list import ImageList

from compress.models.proposals import ProposalLimits, select_proposals
from compress.models.sources.torchvision_two_stage import small_two_stage
from compress.models.two_stage_detectors import TwoStageDetector


def detector() -> TwoStageDetector:
    """In float64, in which no two scores are equal, with scores and boxes that differ from place to place."""
    torch.manual_seed(0)
    network = small_two_stage(2, (64, 64), width=4, proposals=12)
    assert isinstance(network, TwoStageDetector)
    for parameter in network.rpn.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.double().eval()


def test_proposals_are_those_of_torchvision() -> None:
    network = detector()
    image = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        maps = network.backbone(image)
        expected, _ = network.rpn(ImageList(image, [(64, 64)] * 3), maps)
        proposals, is_box = network._propose(*network._first_stage(maps))
    for own, present, theirs in zip(proposals, is_box, expected, strict=True):
        assert int(present.sum()) == len(theirs) > 0
        assert float(torch.cdist(own[present], theirs).min(dim=1).values.max()) < 1e-4


def test_the_number_is_fixed_and_padding_comes_last() -> None:
    anchors = [torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [30.0, 30.0, 40.0, 40.0]])]
    objectness, offsets = [torch.tensor([[1.0, 2.0, 3.0]])], [torch.zeros(1, 3, 4)]
    proposals, is_box = select_proposals(objectness, offsets, anchors, (64, 64), ProposalLimits(proposals=3))
    assert is_box.tolist() == [[True, True, False]]  # the first is suppressed
    assert proposals[0].tolist() == [[1.0, 0.0, 11.0, 10.0], [30.0, 30.0, 40.0, 40.0], [0.0, 0.0, 0.0, 0.0]]


def test_rows_are_in_the_order_of_anchors_whatever_the_scores() -> None:
    anchors = [torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])]
    limits = ProposalLimits(proposals=2)
    each = [
        select_proposals([torch.tensor([scores])], [torch.zeros(1, 2, 4)], anchors, (64, 64), limits)[0]
        for scores in ([1.0, 2.0], [2.0, 1.0])
    ]
    assert torch.equal(*each)


def test_unlikely_and_empty_boxes_take_no_part() -> None:
    anchors = [torch.tensor([[0.0, 0.0, 10.0, 10.0], [70.0, 0.0, 80.0, 10.0], [20.0, 20.0, 30.0, 30.0]])]
    objectness = [torch.tensor([[2.0, 3.0, -5.0]])]
    limits = ProposalLimits(proposals=3, least_score=0.05)
    _, is_box = select_proposals(objectness, [torch.zeros(1, 3, 4)], anchors, (64, 64), limits)
    assert int(is_box.sum()) == 1  # the second is outside of the image, the third is unlikely
