"""Boxes of detectors: anchors, offsets, matching, and detections of one image from the outputs for its anchors.

A box is (x₁, y₁, x₂, y₂) in pixels of the network's input. An anchor is a box that a network refines: for the centre
(a_x, a_y), width a_w and height a_h of an anchor, offsets t = (t_x, t_y, t_w, t_h) stand for the box with

    x = a_x + t_x · a_w,   y = a_y + t_y · a_h,   w = a_w · exp t_w,   h = a_h · exp t_h

as in Ren et al. 2015, Faster R-CNN, arXiv:1506.01497, equation 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import batched_nms, box_iou

LARGEST_LOG_SCALE = math.log(1000.0 / 16)
"""Largest t_w and t_h that are decoded, as in torchvision: an exponent of a fresh network must not overflow."""
MATCHED_IOU, BACKGROUND_IOU = 0.5, 0.4
"""An anchor of at least the first is matched, one below the second is background, one between counts nowhere."""
BACKGROUND, BETWEEN = Matcher.BELOW_LOW_THRESHOLD, Matcher.BETWEEN_THRESHOLDS


class Detections(NamedTuple):
    """Detections of one image, the highest score first.

    Attributes:
        boxes: (D, 4), pixels.
        scores: In [0, 1], (D,).
        classes: int64 (D,).
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def decode_boxes(offsets: Tensor, anchors: Tensor) -> Tensor:
    """Boxes of offsets t, (…, 4), pixels; see the head of the file.

    Args:
        offsets: (…, 4).
        anchors: (…, 4), pixels.
    """
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + size / 2 + offsets[..., :2] * size
    half = size * offsets[..., 2:].clamp(max=LARGEST_LOG_SCALE).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Offsets t of boxes, (…, 4): the inverse of `decode_boxes`.

    Args:
        boxes: (…, 4), pixels, of positive size.
        anchors: (…, 4), pixels.
    """
    size, target = anchors[..., 2:] - anchors[..., :2], boxes[..., 2:] - boxes[..., :2]
    shift = (boxes[..., :2] + target / 2 - anchors[..., :2] - size / 2) / size
    return torch.cat([shift, (target / size).log()], dim=-1)


def match_anchors(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Index of the box that each anchor is matched with, int64 (A,); `BACKGROUND`, or `BETWEEN` where it counts nowhere.

    The best anchors of a box are matched with it however small their IoU is, so that no box is without an anchor.

    Args:
        anchors: (A, 4), pixels.
        boxes: True boxes, (M, 4), pixels.
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), BACKGROUND, dtype=torch.int64, device=anchors.device)
    matcher = Matcher(MATCHED_IOU, BACKGROUND_IOU, allow_low_quality_matches=True)
    indices: Tensor = matcher(box_iou(boxes, anchors))
    return indices


def select_detections(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    *,
    least_score: float = 0.01,
    nms_iou: float = 0.5,
    most: int = 100,
    size: tuple[int, int] | None = None,
) -> Detections:
    """Detections of one image: decoded boxes of the likeliest classes, without overlapping ones of the same class.

    Of all pairs of anchor and class with σ(z) > `least_score`, the 10 · `most` likeliest go through non-maximum suppression.
    Values that are not finite give no detection.

    Args:
        logits: z, (A, K).
        offsets: (A, 4).
        anchors: (A, 4), pixels.
        least_score: Lower scores are no detections.
        nms_iou: Of two boxes of one class with a larger IoU, the one with the lower score is dropped.
        most: Largest number of detections.
        size: (height, width) that boxes are clipped to, pixels; None for no limit.
    """
    scores = logits.sigmoid().nan_to_num(0.0) * offsets.isfinite().all(1, keepdim=True)
    flat = scores.flatten()
    top, index = flat.topk(min(10 * most, len(flat)))
    index, top = index[top > least_score], top[top > least_score]
    anchor, classes = index // logits.shape[1], index % logits.shape[1]
    boxes = decode_boxes(offsets[anchor], anchors[anchor])
    if size is not None:
        limit = boxes.new_tensor((size[1], size[0], size[1], size[0]))
        boxes = boxes.clamp(min=0).minimum(limit)
    kept = batched_nms(boxes, top, classes, nms_iou)[:most]
    return Detections(boxes[kept], top[kept], classes[kept])
