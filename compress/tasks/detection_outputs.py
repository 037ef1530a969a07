"""Names of what a detector gives and of what post-processing makes of it, and the limits of post-processing. Light."""

from __future__ import annotations

CLASS_LOGITS, OFFSETS, ANCHORS = "class_logits", "boxes", "anchors"
"""Outputs of a detector; see `compress.tasks.detection`."""
OFFSET_VALUES = "offset_values"
"""Name of the last axis of the offsets: of size 4, or 4 K with those of each class."""
IMAGE_SIZE = "image_size"
"""Height and width of the images that outputs are of, int64 (N, 2), pixels; no output, but set beside them."""
DETECTED_BOXES, DETECTED_SCORES, DETECTED_CLASSES = "detected_boxes", "detected_scores", "detected_classes"
"""Results of post-processing: (N, D, 4) in pixels, (N, D), int64 (N, D), padded to one D with score 0 and class −1."""
MOST_DETECTIONS = 100
"""Of an image, as in COCO's metric."""
MOST_CANDIDATES = 10 * MOST_DETECTIONS
"""Pairs of anchor and class that non-maximum suppression sees, the likeliest ones."""
LEAST_SCORE = 0.01
"""Pairs of a lower score are no detections."""
NMS_IOU = 0.5
"""Of two boxes of one class with a larger IoU, the one with the lower score is dropped."""
AGREEMENT_SCORE = 0.3
"""Detections of a lower score do not count where two networks are compared."""
