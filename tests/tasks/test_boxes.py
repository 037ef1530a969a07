"""Encoding, matching and selection of boxes."""

from __future__ import annotations

import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from compress.tasks.boxes import (
    BACKGROUND,
    BETWEEN,
    class_offsets,
    decode_boxes,
    encode_boxes,
    match_anchors,
    select_detections,
)

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 22], [50, 50, 60, 60]])


def test_decoding_inverts_encoding() -> None:
    boxes = torch.tensor([[1.0, 2, 9, 14], [18, 25, 40, 31], [0, 0, 10, 22], [40, 40, 90, 95]])
    assert torch.allclose(decode_boxes(encode_boxes(boxes, ANCHORS), ANCHORS), boxes, atol=1e-4)


def test_offsets_are_those_of_the_formula() -> None:
    """An anchor of 10 × 10 at (5, 5), moved by half its width and doubled in height."""
    offsets = torch.tensor([[0.5, 0.0, 0.0, torch.log(torch.tensor(2.0))]])
    assert torch.allclose(decode_boxes(offsets, ANCHORS[:1]), torch.tensor([[5.0, -5, 15, 15]]), atol=1e-5)


def test_anchors_are_matched_by_overlap() -> None:
    """IoU 1 is matched, 0.4545 is between the limits, 0 is background; the best anchor of a box is matched at any IoU."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [56, 56, 70, 70]]])
    assert match_anchors(ANCHORS[None], boxes, torch.tensor([[True, True]])).tolist() == [[0, BACKGROUND, BETWEEN, 1]]
    assert match_anchors(ANCHORS[None], boxes, torch.tensor([[False, False]])).tolist() == [[BACKGROUND] * 4]


def test_matches_are_those_of_torchvision() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(6, 40, 2, generator=generator) * 50
    anchors = torch.cat([corners, corners + 4 + 20 * torch.rand(6, 40, 2, generator=generator)], dim=2)
    corners = torch.rand(6, 5, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 4 + 20 * torch.rand(6, 5, 2, generator=generator)], dim=2)
    present = torch.arange(5) < torch.tensor([[1], [2], [3], [4], [5], [5]])
    expected = []
    for row in range(6):
        matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        expected.append(matcher(box_iou(boxes[row][present[row]], anchors[row])))
    matches = match_anchors(anchors, boxes, present)
    assert torch.equal(matches, torch.stack(expected))
    assert set(matches.unique().tolist()) == {-2, -1, 0, 1, 2, 3, 4}


def test_selection_drops_overlapping_boxes_of_one_class_only() -> None:
    anchors = ANCHORS[[0, 0, 1]] + torch.tensor([[0.0], [1.0], [0.0]])
    logits = torch.tensor([[3.0, -9], [2.0, -9], [-9, 1.0]])
    found = select_detections(logits, torch.zeros(3, 4), anchors, nms_iou=0.5)
    assert found.classes.tolist() == [0, 1]
    assert torch.allclose(found.boxes, anchors[[0, 2]])
    logits[1] = torch.tensor([-9.0, 2.0])
    assert len(select_detections(logits, torch.zeros(3, 4), anchors, nms_iou=0.5).scores) == 3


def test_values_that_are_not_finite_are_no_detections() -> None:
    logits = torch.tensor([[float("nan")], [2.0], [2.0], [-2.0]])
    offsets = torch.zeros(4, 4)
    offsets[1, 0] = float("inf")
    assert select_detections(logits, offsets, ANCHORS, least_score=0.5).scores.tolist() == logits[2].sigmoid().tolist()


def test_offsets_are_those_of_the_class_or_of_all() -> None:
    offsets = torch.arange(24.0).reshape(2, 12)
    assert class_offsets(offsets, torch.tensor([2, 0])).tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]
    assert class_offsets(offsets[:, :4], torch.tensor([2, 0])).tolist() == offsets[:, :4].tolist()
