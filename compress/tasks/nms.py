"""Decoding and non-maximum suppression as post-processing of detection, and the task of files whose graph ends in it. Light."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import Tensors
from compress.data.detection_targets import NO_OBJECT
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.detection_metric import AveragePrecision, detection_statistics
from compress.tasks.detection_outputs import (
    ANCHORS,
    CLASS_LOGITS,
    DETECTED_BOXES,
    DETECTED_CLASSES,
    DETECTED_SCORES,
    LEAST_SCORE,
    MOST_DETECTIONS,
    NMS_IOU,
    OFFSETS,
)
from compress.tasks.detections import detection_agreement, unpad
from compress.tasks.metric import TaskMetric

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement


class DetectedPrecision(AveragePrecision):
    """Mean average precision of files that give detections; see `AveragePrecision`.

    Args:
        name: As there.
        classes: K.
    """

    def __init__(self, name: str, classes: int) -> None:
        super().__init__(name)
        self.classes = classes

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """As of `AveragePrecision`."""
        return self.of_thresholds(detection_statistics(unpad(outputs), targets, self.classes))


class Detected(Task):
    """Detection by files whose graph ends in non-maximum suppression. Such files are measured, and not trained.

    Args:
        classes: K.

    Attributes:
        name: `detected`.
        metrics: `map50`, for the classes that are known when it is made.
        capabilities: Inputs are images.
    """

    name: ClassVar[str] = "detected"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (AveragePrecision("map50"),)
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("image_input", "box_targets"))

    def __init__(self, classes: int) -> None:
        self.classes = classes

    @property
    def options(self) -> Mapping[str, Any]:
        """The number of classes."""
        return {"classes": self.classes}

    @property
    def deciding(self) -> DetectedPrecision:
        """`map50`."""
        return DetectedPrecision("map50", self.classes)

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Boxes in pixels, scores and class numbers of D detections, padded with score 0 and class −1."""
        return (
            TensorSpec(name=DETECTED_BOXES, shape=(BATCH, "detections", 4)),
            TensorSpec(name=DETECTED_SCORES, shape=(BATCH, "detections")),
            TensorSpec(name=DETECTED_CLASSES, dtype="int64", shape=(BATCH, "detections")),
        )

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of the scores, place by place; `top1` is the fraction of detections that both have."""
        from dataclasses import replace

        from compress.tasks.output_agreement import compare_outputs

        compared = compare_outputs(*(each[DETECTED_SCORES].numpy() for each in (reference, other)))
        pairs = zip(*(unpad(each) for each in (reference, other)), strict=True)
        return replace(compared, top1=float(np.mean([detection_agreement(a, b) for a, b in pairs])))

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:  # noqa: ARG002
        """NaN: suppressed boxes have no loss."""
        return outputs[DETECTED_SCORES].new_tensor(math.nan)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:  # noqa: ARG002
        """Refused.

        Raises:
            ModelError: Always.
        """
        msg = gettext("a file whose graph ends in non-maximum suppression has no logits to distil; use the network without it")
        raise ModelError(msg)


class NonMaximumSuppression:
    """Decodes and suppresses boxes; see `compress.tasks.postprocessing.Postprocessing`.

    Attributes:
        name: `NMS`.
    """

    name: str = "NMS"

    def task(self, spec: NetworkSpec) -> Detected:
        """Detection by files that give detections."""
        return Detected(len(spec.classes))

    def append_to(self, model: onnx.ModelProto, spec: NetworkSpec) -> onnx.ModelProto:
        """See `compress.tasks.nms_graph.append_nms`."""
        from compress.tasks.nms_graph import append_nms

        return append_nms(model, (spec.height, spec.width))

    def run(self, outputs: Mapping[str, np.ndarray], spec: NetworkSpec) -> dict[str, np.ndarray]:
        """Detections of each image by the numpy code of `infer.py`, padded to `MOST_DETECTIONS`."""
        from compress.tasks.numpy_detections import select_detections

        named = [outputs[name].astype(np.float32, copy=False) for name in (CLASS_LOGITS, OFFSETS, ANCHORS)]
        count = min(MOST_DETECTIONS, named[0].shape[1] * named[0].shape[2])
        size = (spec.width, spec.height)
        padded = {
            DETECTED_BOXES: np.zeros((len(named[0]), count, 4), np.float32),
            DETECTED_SCORES: np.zeros((len(named[0]), count), np.float32),
            DETECTED_CLASSES: np.full((len(named[0]), count), NO_OBJECT, np.int64),
        }
        for row, (logits, offsets, anchors) in enumerate(zip(*named, strict=True)):
            detections = select_detections((logits, offsets, anchors), size, LEAST_SCORE, NMS_IOU, MOST_DETECTIONS)
            for values, name in zip(detections, padded, strict=True):
                padded[name][row, : len(values)] = values
        return padded
