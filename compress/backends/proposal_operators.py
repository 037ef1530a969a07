"""Selection of boxes as torch operators with exact ONNX counterparts: the best of N scores, and non-maximum suppression.

torch breaks ties of equal scores at random and suppresses boxes image by image, with a result of variable size. Both operators
here have static shapes for a free batch, and give the same result in torch and in the ONNX operators they are exported as:

    top_scores   (N, B) → the C largest and their indices, of equal ones the first        TopK
    nms_mask     boxes (N, B, 4), scores (N, B) → whether a box is selected, (N, B)        NonMaxSuppression, ScatterND
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnxscript
import torch
from onnxscript import opset18 as op
from torch import Tensor
from torchvision.ops import nms

NAMESPACE = "compress"
UNUSABLE = -1e30
"""Score of a box that is not selected and suppresses no other."""
_THRESHOLD = UNUSABLE / 2
_ALL = 2**31 - 1
"""Limit of the boxes that NonMaxSuppression selects."""


@torch.library.custom_op(f"{NAMESPACE}::top_scores", mutates_args=())
def top_scores(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest scores of each row in descending order, and their indices; of equal ones the first.

    Args:
        scores: (N, B).
        count: C, at most B.

    Returns:
        (N, C), and int64 (N, C).
    """
    values, indices = scores.sort(dim=1, descending=True, stable=True)
    return values[:, :count].clone(), indices[:, :count].clone()


@top_scores.register_fake
def _(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    shape = (scores.shape[0], count)
    return scores.new_empty(shape), scores.new_empty(shape, dtype=torch.int64)


@torch.library.custom_op(f"{NAMESPACE}::nms_mask", mutates_args=())
def nms_mask(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Which boxes of each row non-maximum suppression selects, bool (N, B).

    Args:
        boxes: (N, B, 4), corners in pixels.
        scores: (N, B), real numbers such as logits; `UNUSABLE` for boxes that take no part.
        iou: Of two boxes with a larger IoU, the one with the lower score is dropped; of equal scores the second.
    """
    mask = torch.zeros_like(scores, dtype=torch.bool)
    for row, (own_boxes, own_scores) in enumerate(zip(boxes, scores, strict=True)):
        usable = (own_scores > _THRESHOLD).nonzero().flatten()
        mask[row, usable[nms(own_boxes[usable], own_scores[usable], iou)]] = True
    return mask


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:  # noqa: ARG001
    return torch.empty_like(scores, dtype=torch.bool)


def _top_scores_onnx(scores: onnxscript.FLOAT, count: int) -> tuple[onnxscript.FLOAT, onnxscript.INT64]:
    values, indices = op.TopK(scores, op.Constant(value_ints=[count]), axis=1, largest=1, sorted=1)
    return values, indices


def _nms_mask_onnx(boxes: onnxscript.FLOAT, scores: onnxscript.FLOAT, iou: float) -> onnxscript.BOOL:
    by_class = op.Unsqueeze(scores, op.Constant(value_ints=[1]))
    limits = [op.Constant(value_ints=[_ALL]), op.Constant(value_floats=[iou]), op.Constant(value_floats=[_THRESHOLD])]
    selected = op.NonMaxSuppression(boxes, by_class, *limits)
    places = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)
    count = op.Slice(op.Shape(places), op.Constant(value_ints=[0]), op.Constant(value_ints=[1]))
    none = op.Expand(op.Constant(value_float=0.0), op.Shape(scores))
    marked = op.ScatterND(none, places, op.Expand(op.Constant(value_float=1.0), count))
    return op.Greater(marked, op.Constant(value_float=0.5))


TRANSLATIONS: Mapping[Callable[..., object], Callable[..., object]] = {
    torch.ops.compress.top_scores.default: _top_scores_onnx,
    torch.ops.compress.nms_mask.default: _nms_mask_onnx,
}
"""The ONNX operators of each operator, for the exporter."""
