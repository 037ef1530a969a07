"""Boxes of detectors: anchors, offsets, matching, and detections of one image from the outputs for its anchors.

A box is (x₁, y₁, x₂, y₂) in pixels of the network's input. An anchor is a box that the network refines: for the centre
(a_x, a_y), width a_w and height a_h of an anchor, offsets t = (t_x, t_y, t_w, t_h) define the box with

    x = a_x + t_x · a_w,   y = a_y + t_y · a_h,   w = a_w · exp t_w,   h = a_h · exp t_h

as in Ren et al. 2015, Faster R-CNN, arXiv:1506.01497, equation 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

from compress.tasks.detection_outputs import LEAST_SCORE, MOST_DETECTIONS, NMS_IOU

LARGEST_LOG_SCALE = math.log(1000.0 / 16)
"""Largest decoded t_w and t_h, as in torchvision, so that the exponential of an untrained network does not overflow."""
MATCHED_IOU, BACKGROUND_IOU = 0.5, 0.4
"""IoU thresholds: an anchor with at least the first is matched, one below the second is background, others are ignored."""
BACKGROUND, BETWEEN = -1, -2
"""Values in place of the index of a box."""


class Detections(NamedTuple):
    """Detections of one image, in descending order of score.

    Attributes:
        boxes: (D, 4), pixels.
        scores: Scores in [0, 1], (D,).
        classes: int64 (D,).
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def decode_boxes(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Boxes of offsets t, (…, 4), pixels; see the docstring of this module.

    Args:
        offsets: (…, 4).
        anchors: (…, 4), pixels.
    """
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + size / 2 + offsets[..., :2] * size
    half = size * offsets[..., 2:].clamp(max=LARGEST_LOG_SCALE).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def class_offsets(offsets: Tensor, classes: Tensor) -> Tensor:
    """Offsets t of the given classes, (…, 4).

    Args:
        offsets: (…, 4) for all classes, or (…, 4 K) with those of each class.
        classes: int64 (…).
    """
    each = offsets.reshape(*offsets.shape[:-1], offsets.shape[-1] // 4, 4)
    index = classes % each.shape[-2]
    own: Tensor = each.gather(-2, index[..., None, None].expand(*index.shape, 1, 4)).squeeze(-2)
    return own


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Offsets t of boxes, (…, 4): the inverse of `decode_boxes`.

    Args:
        boxes: (…, 4), pixels, of positive size.
        anchors: (…, 4), pixels.
    """
    size, target = anchors[..., 2:] - anchors[..., :2], boxes[..., 2:] - boxes[..., :2]
    shift = (boxes[..., :2] + target / 2 - anchors[..., :2] - size / 2) / size
    return torch.cat([shift, (target / size).log()], dim=-1)


def match_anchors(anchors: Tensor, boxes: Tensor, present: Tensor) -> Tensor:
    """Index of the box that each anchor is matched with, int64 (N, A); `BACKGROUND`, or `BETWEEN` for ignored anchors.

    The anchors with the largest IoU of a box are matched however small it is, so that no box is without an anchor. This is
    `Matcher` of torchvision with `allow_low_quality_matches`, for all images of a batch at once.

    Args:
        anchors: (N, A, 4), pixels.
        boxes: True boxes, (N, M, 4), pixels.
        present: Mask of the boxes that are not padding, bool (N, M).
    """
    low = torch.maximum(boxes[:, :, None, :2], anchors[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], anchors[:, None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (boxes, anchors)]
    iou = overlap / (areas[0][:, :, None] + areas[1][:, None, :] - overlap)
    iou = torch.where(present[:, :, None], iou, -1.0)
    best, index = iou.max(dim=1)
    is_best_of_a_box = ((iou == iou.amax(dim=2, keepdim=True)) & (iou > 0)).any(dim=1)
    matched = (best >= MATCHED_IOU) | is_best_of_a_box
    return torch.where(matched, index, torch.where(best >= BACKGROUND_IOU, BETWEEN, BACKGROUND))


def select_detections(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    *,
    least_score: float = LEAST_SCORE,
    nms_iou: float = NMS_IOU,
    most: int = MOST_DETECTIONS,
    size: Sequence[int] | None = None,
) -> Detections:
    """Detections of one image: decoded boxes of the most probable classes, without overlapping boxes of the same class.

    Of all pairs of anchor and class, the 10 · `most` likeliest with σ(z) > `least_score` are decoded, clipped to the image and
    go through non-maximum suppression, in torchvision's order. Of equal scores the first in the outputs comes first. Values
    that are not finite give no detection.

    Args:
        logits: z, (A, K).
        offsets: (A, 4), or (A, 4 K) with those of each class.
        anchors: (A, 4), pixels.
        least_score: Smallest score of a detection.
        nms_iou: Of two boxes of one class with a larger IoU, the one with the lower score is dropped.
        most: Largest number of detections.
        size: (height, width) that boxes are clipped to, pixels; None for no limit.
    """
    usable = offsets.isfinite().all(1, keepdim=True) & ~logits.isnan()
    flat = logits.where(usable, -math.inf).flatten()
    likely = (flat.sigmoid() > least_score).nonzero().flatten()
    index = likely[flat[likely].sort(descending=True, stable=True).indices[: 10 * most]]
    scores, anchor, classes = flat[index].sigmoid(), index // logits.shape[1], index % logits.shape[1]
    boxes = decode_boxes(class_offsets(offsets[anchor], classes), anchors[anchor])
    if size is not None:
        limit = boxes.new_tensor((size[1], size[0], size[1], size[0]))
        boxes = boxes.clamp(min=0).minimum(limit)
    own = ((classes == number).nonzero().flatten() for number in set(classes.tolist()))
    indices = [rows[nms(boxes[rows], scores[rows], nms_iou)] for rows in own]
    chosen = torch.cat(indices).sort().values[:most] if indices else index[:0]
    return Detections(boxes[chosen], scores[chosen], classes[chosen])
