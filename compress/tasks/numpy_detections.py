"""Decoding and non-maximum suppression in numpy: what runs after a shipped detector, in `infer.py` and where it is timed.

Imports numpy alone: `compress.tasks.infer_detection` copies all lines below the marker. The same is done in torch by
`compress.tasks.boxes.select_detections`, and in ONNX operators by `compress.tasks.nms_graph`.
"""

from __future__ import annotations

import numpy as np

# --- copied into infer.py from here on ---
LARGEST_LOG_SCALE = np.log(1000.0 / 16).astype(np.float32)
"""Largest t_w and t_h that are decoded."""


def decode_boxes(offsets: np.ndarray, anchors: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes (D, 4) as corners in pixels of the network's input, clipped to it, from offsets and anchors, (D, 4)."""
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2 + offsets[:, :2] * size
    half = size * np.exp(np.minimum(offsets[:, 2:], LARGEST_LOG_SCALE)) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    limits = np.array([width, height, width, height], dtype=boxes.dtype)
    clipped: np.ndarray = np.minimum(np.maximum(boxes, 0), limits)
    return clipped


def suppress_boxes(boxes: np.ndarray, classes: np.ndarray, iou: float) -> np.ndarray:
    """Indices of the boxes that overlap no better one of their class by more than `iou`; boxes (D, 4) come best first."""
    areas, left, selection = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.arange(len(boxes)), []
    while len(left):
        best, rest = left[0], left[1:]
        selection.append(best)
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        overlap = np.maximum(sides, 0).prod(axis=1)
        left = rest[(overlap <= iou * (areas[best] + areas[rest] - overlap)) | (classes[rest] != classes[best])]
    return np.array(selection, dtype=np.int64)


def select_detections(
    outputs: tuple[np.ndarray, np.ndarray, np.ndarray],
    size: tuple[int, int],
    least_score: float,
    iou: float,
    most: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (D, 4) in pixels, scores (D,) and class numbers (D,) of an image, the best first.

    Of all pairs of anchor and class, the 10 * `most` likeliest with a score over `least_score` are decoded and suppressed.

    Args:
        outputs: Class logits (A, K), offsets (A, 4), or (A, 4 K) with those of each class, and anchors (A, 4).
        size: Width and height of the network's input, pixels.
        least_score: Lower scores are no detections.
        iou: Of two boxes of one class with a larger IoU, the one with the lower score is dropped.
        most: Largest D.
    """
    logits, offsets, anchors = outputs
    usable = np.isfinite(offsets).all(axis=1, keepdims=True) & ~np.isnan(logits)
    flat = np.where(usable, logits, -np.inf).ravel()
    least = max(least_score, 1e-30)
    likely = np.flatnonzero(flat > np.log(least / (1 - least)) - 1e-3)
    order = likely[np.argsort(-flat[likely], kind="stable")[: 10 * most]]
    scores = 1 / (1 + np.exp(-flat[order]))
    order, scores = order[scores > least_score], scores[scores > least_score]
    rows, classes = order // logits.shape[1], order % logits.shape[1]
    each = offsets.reshape(len(offsets), offsets.shape[1] // 4, 4)
    boxes = decode_boxes(each[rows, classes % each.shape[1]], anchors[rows], *size)
    selection = suppress_boxes(boxes, classes, iou)[:most]
    return boxes[selection], scores[selection], classes[selection]
