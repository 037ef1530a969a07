"""Decoding and non-maximum suppression as operators of ONNX, behind the three outputs of a detector.

    logits ─ candidates: TopK over all pairs of anchor and class ─┬─ sigmoid ─────────┬─ NonMaxSuppression ─ TopK ─► 3 outputs
    offsets, anchors ─────────────── gathered, decoded, clipped ──┴─ boxes (N, C, 4) ─┘

The steps, limits and order are those of `compress.tasks.boxes.select_detections`. The batch stays free: results are padded with
score 0 and class −1 to D = min(`MOST_DETECTIONS`, candidates).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from compress.tasks.detection_outputs import (
    DETECTED_BOXES,
    DETECTED_CLASSES,
    DETECTED_SCORES,
    LEAST_SCORE,
    MOST_CANDIDATES,
    MOST_DETECTIONS,
    NMS_IOU,
)

PREFIX = "nms_"
"""Of the names of added nodes and tensors."""
LARGEST_LOG_SCALE = math.log(1000.0 / 16)


class _Steps:
    """Collects nodes and constants.

    Args:
        graph: They are added to, in place.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self._taken = {name for node in graph.node for name in node.output} | {each.name for each in graph.initializer}
        self._count = 0

    def _name(self, hint: str) -> str:
        self._count += 1
        name = f"{PREFIX}{hint.lower()}_{self._count}"
        return name if name not in self._taken else self._name(hint)

    def constant(self, values: Sequence[float] | float, kind: type[np.generic] = np.float32) -> str:
        """Name of an initializer."""
        name = self._name("constant")
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, dtype=kind), name))
        return name

    def integers(self, *values: int) -> str:
        """Name of an int64 vector."""
        return self.constant(values, np.int64)

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: int) -> list[str]:
        """Add a node; returns the names of its outputs."""
        results = [self._name(operator) for _ in range(outputs)]
        self.graph.node.append(helper.make_node(operator, inputs, results, name=results[0], **attributes))
        return results

    def one(self, operator: str, *inputs: str, **attributes: int) -> str:
        """Add a node with one output; returns its name."""
        return self.add(operator, *inputs, **attributes)[0]


def append_nms(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """A copy of a detector's graph that ends in its detections.

    Args:
        model: With the outputs class logits (N, A, K), offsets (N, A, 4), or (N, A, 4 K) with those of each class, and anchors
            (N, A, 4), in this order.
        size: (height, width) of the images, pixels.

    Returns:
        With the outputs `detected_boxes` (N, D, 4), `detected_scores` (N, D) and `detected_classes` int64 (N, D).
    """
    appended = onnx.ModelProto()
    appended.CopyFrom(model)
    steps = _Steps(appended.graph)
    logits, offsets, anchors = (output.name for output in model.graph.output)
    top, anchor, classes = _candidates(steps, logits, offsets)
    place = steps.one("Unsqueeze", anchor, steps.integers(2))
    own = steps.one("GatherND", anchors, place, batch_dims=1)
    boxes = _decode(steps, _class_offsets(steps, offsets, place, classes), own, size)
    scores = steps.one("Sigmoid", top)
    selection = _suppress(steps, boxes, scores, classes, logits)
    _results(steps, boxes, selection, classes)
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]
    first = batch.dim_value or batch.dim_param or "batch"
    del appended.graph.output[:]
    for name, kind, shape in (
        (DETECTED_BOXES, TensorProto.FLOAT, (first, "detections", 4)),
        (DETECTED_SCORES, TensorProto.FLOAT, (first, "detections")),
        (DETECTED_CLASSES, TensorProto.INT64, (first, "detections")),
    ):
        appended.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    return appended


def _candidates(steps: _Steps, logits: str, offsets: str) -> tuple[str, str, str]:
    """Logits of the likeliest pairs (N, C), the largest first, and their anchors and classes, int64 (N, C)."""
    zeroed = steps.one("Mul", offsets, steps.constant(0.0))  # NaN where an offset is not finite
    spoiled = steps.one("IsNaN", steps.one("ReduceSum", zeroed, steps.integers(2), keepdims=1))
    unusable = steps.one("Or", spoiled, steps.one("IsNaN", logits))
    usable = steps.one("Where", unusable, steps.constant(-math.inf), logits)
    flat = steps.one("Reshape", usable, steps.integers(0, -1))
    pairs = steps.one("Gather", steps.one("Shape", flat), steps.integers(1))
    count = steps.one("Min", pairs, steps.integers(MOST_CANDIDATES))
    top, index = steps.add("TopK", flat, count, outputs=2, axis=1, largest=1, sorted=1)
    classes = steps.one("Gather", steps.one("Shape", logits), steps.integers(2))
    return top, steps.one("Div", index, classes), steps.one("Mod", index, classes)


def _class_offsets(steps: _Steps, offsets: str, place: str, classes: str) -> str:
    """Offsets (N, C, 4) of pairs; see `compress.tasks.boxes.class_offsets`.

    Args:
        steps: Of the graph.
        offsets: (N, A, 4) or (N, A, 4 K).
        place: Anchors of the pairs, int64 (N, C, 1).
        classes: int64 (N, C).
    """
    each = steps.one("Reshape", offsets, steps.integers(0, 0, -1, 4))
    count = steps.one("Gather", steps.one("Shape", each), steps.integers(2))
    index = steps.one("Unsqueeze", steps.one("Mod", classes, count), steps.integers(2))
    return steps.one("GatherND", each, steps.one("Concat", place, index, axis=2), batch_dims=1)


def _decode(steps: _Steps, offsets: str, anchors: str, size: tuple[int, int]) -> str:
    """Boxes (N, C, 4), clipped to the image; see `compress.tasks.boxes.decode_boxes`."""
    first, second = steps.integers(0, 1), steps.integers(2, 3)
    low, high = (steps.one("Gather", anchors, index, axis=2) for index in (first, second))
    shift, log_scale = (steps.one("Gather", offsets, index, axis=2) for index in (first, second))
    sides, two = steps.one("Sub", high, low), steps.constant(2.0)
    centre = steps.one("Add", low, steps.one("Div", sides, two))
    centre = steps.one("Add", centre, steps.one("Mul", shift, sides))
    scale = steps.one("Exp", steps.one("Min", log_scale, steps.constant(LARGEST_LOG_SCALE)))
    half = steps.one("Div", steps.one("Mul", sides, scale), two)
    boxes = steps.one("Concat", steps.one("Sub", centre, half), steps.one("Add", centre, half), axis=2)
    height, width = size
    limit = steps.constant([width, height, width, height])
    return steps.one("Min", steps.one("Max", boxes, steps.constant(0.0)), limit)


def _suppress(steps: _Steps, boxes: str, scores: str, classes: str, logits: str) -> str:
    """Scores of the candidates, (N, C), 0 where one is suppressed or not likely enough."""
    count = steps.one("Squeeze", steps.one("Gather", steps.one("Shape", logits), steps.integers(2)), steps.integers(0))
    zero, one = (steps.constant(value, np.int64) for value in (0, 1))
    numbers = steps.one("Unsqueeze", steps.one("Range", zero, count, one), steps.integers(0, 2))
    own = steps.one("Equal", steps.one("Unsqueeze", classes, steps.integers(1)), numbers)
    by_class = steps.one("Where", own, steps.one("Unsqueeze", scores, steps.integers(1)), steps.constant(0.0))
    limits = (steps.integers(MOST_DETECTIONS), steps.constant([NMS_IOU]), steps.constant([LEAST_SCORE]))
    selected = steps.one("NonMaxSuppression", boxes, by_class, *limits)
    places = steps.one("Gather", selected, steps.integers(0, 2), axis=1)
    ones = steps.one("Expand", steps.constant(1.0), steps.one("Slice", steps.one("Shape", places), *_range(steps, 0, 1)))
    none = steps.one("Expand", steps.constant(0.0), steps.one("Shape", scores))
    return steps.one("Mul", steps.one("ScatterND", none, places, ones), scores)


def _range(steps: _Steps, start: int, end: int) -> tuple[str, str]:
    return steps.integers(start), steps.integers(end)


def _results(steps: _Steps, boxes: str, selection: str, classes: str) -> None:
    """The best detections under the names of the outputs."""
    found = steps.one("Gather", steps.one("Shape", selection), steps.integers(1))
    count = steps.one("Min", found, steps.integers(MOST_DETECTIONS))
    scores, index = steps.add("TopK", selection, count, outputs=2, axis=1, largest=1, sorted=1)
    present = steps.one("Greater", scores, steps.constant(0.0))
    chosen = steps.one("GatherND", boxes, steps.one("Unsqueeze", index, steps.integers(2)), batch_dims=1)
    numbers = steps.one("GatherElements", classes, index, axis=1)
    named = (
        (DETECTED_SCORES, "Identity", (scores,)),
        (DETECTED_BOXES, "Where", (steps.one("Unsqueeze", present, steps.integers(2)), chosen, steps.constant(0.0))),
        (DETECTED_CLASSES, "Where", (present, numbers, steps.constant(-1, np.int64))),
    )
    for name, operator, inputs in named:
        steps.graph.node.append(helper.make_node(operator, inputs, [name], name=name))
