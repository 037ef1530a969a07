"""Proposals of the first stage of a detector: a fixed number of boxes for each image.

    objectness, offsets of a level ─ top C ─ decode, clip ─ suppression ─┐
    … of every other level ──────────────────────────────────────────────┴─ top P ─ in the order of their anchors ─► (N, P, 4)

as in Lin et al. 2017, Feature Pyramid Networks, arXiv:1612.03144, section 4.2, and in torchvision. Where fewer than P boxes are
left after suppression the last ones are padding. The order of the anchors, in place of that of the scores, makes two networks
whose scores differ by rounding give the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.backends.proposal_operators import UNUSABLE, nms_mask, top_scores
from compress.tasks.boxes import decode_boxes


@dataclass(frozen=True)
class ProposalLimits:
    """Limits of the selection; the defaults are those of torchvision's `FasterRCNN`.

    Attributes:
        proposals: P.
        candidates: C, of each level before suppression.
        iou: Of two boxes of a level with a larger IoU, the one with the lower score is dropped.
        least_score: Boxes of a lower score take no part.
        least_side: Boxes with a shorter side take no part, pixels.
    """

    proposals: int = 1000
    candidates: int = 1000
    iou: float = 0.7
    least_score: float = 0.0
    least_side: float = 1e-3


@torch.no_grad()
def select_proposals(
    objectness: Sequence[Tensor],
    offsets: Sequence[Tensor],
    anchors: Sequence[Tensor],
    size: tuple[int, int],
    limits: ProposalLimits,
) -> tuple[Tensor, Tensor]:
    """Boxes that are likely to hold an object.

    Args:
        objectness: Logits of each level, (N, A).
        offsets: Of each level, (N, A, 4).
        anchors: Of each level, (A, 4), pixels.
        size: (height, width) that boxes are clipped to, pixels.
        limits: Limits.

    Returns:
        Boxes (N, P, 4), pixels, and whether each is no padding, bool (N, P). P is the number of candidates where that is lower.
    """
    levels = []
    first = 0
    for z, t, own in zip(objectness, offsets, anchors, strict=True):
        boxes, scores, index = _candidates(z, t, own, size, limits)
        levels.append((boxes, scores, index + first))
        first += len(own)
    boxes, scores, places = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
    best, index = top_scores(scores, min(limits.proposals, scores.shape[1]))
    is_box = best > UNUSABLE
    rank = torch.where(is_box, places.gather(1, index), first)  # padding comes last
    order = top_scores(-rank.to(boxes.dtype), rank.shape[1])[1]
    is_box = is_box.gather(1, order)
    chosen = boxes.gather(1, index.gather(1, order)[..., None].expand(-1, -1, 4))
    return torch.where(is_box[..., None], chosen, 0.0), is_box


def _candidates(
    objectness: Tensor, offsets: Tensor, anchors: Tensor, size: tuple[int, int], limits: ProposalLimits
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, C, 4) of a level, logits (N, C), `UNUSABLE` after suppression, and indices of their anchors, int64 (N, C)."""
    logits, index = top_scores(objectness, min(limits.candidates, objectness.shape[1]))
    boxes = decode_boxes(offsets.gather(1, index[..., None].expand(-1, -1, 4)), anchors[index])
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor((size[1], size[0], size[1], size[0])))
    takes_part = ((boxes[..., 2:] - boxes[..., :2]) >= limits.least_side).all(dim=2) & (logits.sigmoid() >= limits.least_score)
    scores = torch.where(takes_part, logits, UNUSABLE)
    return boxes, torch.where(nms_mask(boxes, scores, limits.iou), scores, UNUSABLE), index
