"""Object detection: boxes of objects and their classes. Light: torch is imported when a loss or metric is computed.

A detector of the chain takes one image of a fixed size and returns three tensors for its A anchors, see `compress.tasks.boxes`:

    class_logits   (batch, A, K)   one logit for each class, independent of each other; none for the background
    boxes          (batch, A, 4)   offsets t from the anchors
    anchors        (batch, A, 4)   pixels; a constant of the network, repeated for each sample

The anchors are an output so that an exported file tells all that its loss, its metric and its decoding need, and so that
networks with other anchors can be compared. Decoding and non-maximum suppression are outside the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from compress.core.errors import DataError
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import Tensors
from compress.data.detection_targets import BOXES, CLASSES
from compress.tasks.average_precision import THRESHOLDS, iou_matrix, match_detections, mean_average_precision
from compress.tasks.base import Capability, Rows, Task
from compress.tasks.infer_code import InferCode
from compress.tasks.infer_detection import DETECT
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.overlay import Boxes, Overlay
from compress.tasks.resampled_precision import ResampledPrecision

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.boxes import Detections
    from compress.tasks.output_agreement import OutputAgreement

CLASS_LOGITS, OFFSETS, ANCHORS = "class_logits", "boxes", "anchors"
MOST_DETECTIONS = 100
"""Of an image, as in COCO's metric."""
DRAWN_SCORE = 0.3
"""Lower scores are not drawn, as in `infer.py`."""
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
BOX_WEIGHT = 2.0
"""Factor of the box term of the loss."""
BACKGROUND_ROWS = 3
"""Rows of background for each matched anchor that losses on answers compare, the ratio of SSD (Liu et al. 2016)."""


class AveragePrecision:
    """Mean average precision over the classes; see `compress.tasks.average_precision`.

    Args:
        name: `map50` at an IoU of 0.5, `map50_95` averaged over 0.5, 0.55, …, 0.95.

    Attributes:
        info: Its description.
        is_mean: No; intervals are bootstrapped over images.
    """

    is_mean: bool = False

    def __init__(self, name: str) -> None:
        label = {"map50": "mAP50", "map50_95": "mAP50-95"}[name]
        self.info = Metric(name=name, label=label, unit="fraction", higher_is_better=True)
        self.thresholds = THRESHOLDS[:1] if name == "map50" else THRESHOLDS

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """For each image score, class and hits of up to 100 detections, and the number of true boxes of each class.

        Hits are a sum of 2^t over the thresholds t at which the detection is right.

        Returns:
            float32 (N, 300 + K).
        """
        import torch

        classes = outputs[CLASS_LOGITS].shape[2]
        rows = [
            self._statistics(detections, boxes, labels, classes)
            for detections, (boxes, labels) in zip(postprocess(outputs), true_objects(targets), strict=True)
        ]
        return torch.from_numpy(np.stack(rows))

    def _statistics(self, detections: Detections, boxes: Tensor, labels: Tensor, classes: int) -> np.ndarray:
        predicted = detections.classes.numpy()
        right = match_detections(detections.boxes.numpy(), predicted, boxes.numpy(), labels.numpy(), self.thresholds)
        row = np.zeros((3, MOST_DETECTIONS), np.float32)
        row[0, : len(right)] = detections.scores.numpy()
        row[1, : len(right)] = predicted
        row[2, : len(right)] = right @ 2 ** np.arange(len(self.thresholds))
        return np.concatenate([row.ravel(), np.bincount(labels.numpy(), minlength=classes)[:classes]]).astype(np.float32)

    def value(self, scores: Scores) -> float:
        """The mean average precision of these images; NaN where they have no true box."""
        detections = scores[:, : 3 * MOST_DETECTIONS].reshape(-1, 3, MOST_DETECTIONS)
        score, classes, hits = (detections[:, part].ravel() for part in range(3))
        kept = score > 0
        right = (hits[kept].astype(np.int64)[:, None] >> np.arange(len(self.thresholds)) & 1).astype(bool)
        positives = scores[:, 3 * MOST_DETECTIONS :].sum(axis=0, dtype=np.float64).astype(np.int64)
        return mean_average_precision(score[kept], classes[kept].astype(np.int64), right, positives)

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The value of draws of these images, see `ResampledPrecision`."""
        return ResampledPrecision(scores, MOST_DETECTIONS, len(self.thresholds)).value


class Detection(Task):
    """Boxes of objects of K classes; outputs see the head of the file.

    Targets are `boxes`, float32 (N, M, 4) in pixels, and `classes`, int64 (N, M), −1 where padded.

    Attributes:
        name: `detection`.
        metrics: `map50` decides: it is what detection is specified by in inspection and counting, and on small test sets its
            interval is narrower than that of mAP50-95, which is the second one.
        capabilities: Inputs are images; mixed images have no meaning, since boxes are not mixed.
        infer_code: Decodes, suppresses and draws boxes.
    """

    name: ClassVar[str] = "detection"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (AveragePrecision("map50"), AveragePrecision("map50_95"))
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("image_input", "class_rows", "box_targets"))
    infer_code: ClassVar[InferCode] = DETECT

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Class logits, offsets and anchors; the number of anchors is the network's own."""
        return (
            TensorSpec(name=CLASS_LOGITS, shape=(BATCH, ANCHORS, len(classes))),
            TensorSpec(name=OFFSETS, shape=(BATCH, ANCHORS, 4)),
            TensorSpec(name=ANCHORS, shape=(BATCH, ANCHORS, 4)),
        )

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Boxes and classes, padded."""
        return (
            TensorSpec(name=BOXES, shape=(BATCH, "objects", 4)),
            TensorSpec(name=CLASSES, dtype="int64", shape=(BATCH, "objects")),
        )

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the data are images of one size.

        Raises:
            DataError: They are not.
        """
        inputs = spec.signature.inputs
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or any(isinstance(axis, str) for axis in inputs[0].shape[1:]):
            msg = f"detection needs one image of a fixed size, (batch, C, H, W); the data has {', '.join(map(str, inputs))}"
            raise DataError(msg)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Focal loss of the classes and generalized IoU of the boxes, divided by the number of matched anchors P.

            L = 1/P · ( Σ_a Σ_k α_k (1 − p_k)^γ · −log p_k  +  2 · Σ_matched (1 − GIoU(box_a, true box)) )

        p_k is σ(z_k) for the true class and 1 − σ(z_k) for the others; anchors between the IoU limits of the matching are left
        out of the first sum. Lin et al. 2017 (arXiv:1708.02002), Rezatofighi et al. 2019 (arXiv:1902.09630).

        Args:
            outputs: See the head of the file.
            targets: `boxes` and `classes`.
            label_smoothing: ε in [0, 1): the targets of the logits become (1 − ε) · y + ε / 2.

        Returns:
            Scalar, at least 0.
        """
        from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

        from compress.tasks.boxes import BETWEEN, decode_boxes

        matches, boxes, classes = match_batch(outputs, targets)
        z, matched = outputs[CLASS_LOGITS], matches >= 0
        y = z.new_zeros(z.shape)
        y[matched] = y[matched].scatter(1, classes[matched][:, None], 1.0)
        y = (1 - label_smoothing) * y + label_smoothing / 2
        counted = matches != BETWEEN
        focal = sigmoid_focal_loss(z[counted], y[counted], alpha=FOCAL_ALPHA, gamma=FOCAL_GAMMA, reduction="sum")
        decoded = decode_boxes(outputs[OFFSETS][matched], outputs[ANCHORS][matched])
        overlap = generalized_box_iou_loss(decoded, boxes[matched], reduction="sum")
        total: Tensor = (focal + BOX_WEIGHT * overlap) / max(1, int(matched.sum()))
        return total

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """Anchors as rows of K + 1 logits: 0 for the background, and those of the classes.

        A softmax over such a row is the sigmoid where K = 1, so that losses on answers also compare whether there is an object.
        Rows are the matched anchors, with the class of their box, and for each of them three of the background, evenly spaced:
        most anchors are easy background and would hide the rest. The choice depends on anchors and targets alone, so it is the
        same for student and teacher where these have equal anchors.
        """
        import torch

        from compress.tasks.boxes import BACKGROUND

        matches, _, classes = match_batch(outputs, targets)
        matched = matches >= 0
        background = (matches == BACKGROUND).flatten().nonzero().flatten()
        wanted = min(len(background), max(len(matches), BACKGROUND_ROWS * int(matched.sum())))
        spaced = torch.arange(wanted, device=background.device) * len(background) // max(wanted, 1)
        index = torch.cat([matched.flatten().nonzero().flatten(), background[spaced]]).sort().values
        z = outputs[CLASS_LOGITS].flatten(0, 1)[index]
        rows = torch.cat([z.new_zeros(len(z), 1), z], dim=1)
        return Rows(rows, torch.where(matched, classes + 1, 0).flatten()[index], index // matches.shape[1])

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of logits and offsets; `top1` is the fraction of detections that both networks have.

        Over detections of a score of at least 0.3: 2 · matched / (detections of a + of b), matched at an IoU of at least 0.5
        with the same class; 1 for an image in which neither has one.
        """
        import torch

        from compress.tasks.output_agreement import compare_outputs

        flat = [
            torch.cat([each[name].flatten(1) for name in (CLASS_LOGITS, OFFSETS)], dim=1).numpy() for each in (reference, other)
        ]
        same = [
            detection_agreement(a, b)
            for a, b in zip(postprocess(reference, least_score=0.3), postprocess(other, least_score=0.3), strict=True)
        ]
        return replace(compare_outputs(*flat), top1=float(np.mean(same)))

    def overlays(self, outputs: Tensors) -> list[Overlay]:
        """Boxes of the detections of a score of at least `DRAWN_SCORE`."""
        found = postprocess(outputs, least_score=DRAWN_SCORE)
        return [Boxes(each.boxes.numpy(), each.classes.numpy(), each.scores.numpy()) for each in found]

    def true_overlays(self, targets: Tensors) -> list[Overlay]:
        """The true boxes."""
        return [Boxes(boxes.numpy(), classes.numpy()) for boxes, classes in true_objects(targets)]

    def postprocess(self, outputs: Tensors) -> list[Detections]:
        """Detections of each image; see `compress.tasks.boxes.select_detections`."""
        return postprocess(outputs)


def postprocess(outputs: Tensors, *, least_score: float = 0.01) -> list[Detections]:
    """Detections of each image of a batch, no more than `MOST_DETECTIONS`.

    Args:
        outputs: Of a detector, on the CPU.
        least_score: Lower scores are no detections.
    """
    from compress.tasks.boxes import select_detections

    each = zip(outputs[CLASS_LOGITS].float(), outputs[OFFSETS].float(), outputs[ANCHORS].float(), strict=True)
    return [select_detections(z, t, anchors, least_score=least_score, most=MOST_DETECTIONS) for z, t, anchors in each]


def true_objects(targets: Tensors) -> Iterator[tuple[Tensor, Tensor]]:
    """True boxes, (M, 4), and classes, (M,), of each image, without the padding."""
    for boxes, classes in zip(targets[BOXES], targets[CLASSES], strict=True):
        yield boxes[classes >= 0], classes[classes >= 0]


def match_batch(outputs: Tensors, targets: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """Box that each anchor is matched with, see `match_anchors`, and its corners and class.

    Returns:
        Matches int64 (N, A), boxes (N, A, 4), classes int64 (N, A); the last two mean nothing where there is no match.
    """
    from compress.tasks.boxes import match_anchors

    boxes, classes = targets[BOXES], targets[CLASSES]
    matches = match_anchors(outputs[ANCHORS].detach().float(), boxes, classes >= 0)
    index = matches.clamp(min=0)
    return matches, boxes.gather(1, index[..., None].expand(-1, -1, 4)), classes.gather(1, index)


def detection_agreement(first: Detections, second: Detections) -> float:
    """Fraction of the detections of two networks in one image that both have; see `Detection.agreement`."""
    count = len(first.scores) + len(second.scores)
    if count == 0:
        return 1.0
    iou = iou_matrix(first.boxes.numpy(), second.boxes.numpy())
    same = first.classes.numpy()[:, None] == second.classes.numpy()[None, :]
    iou = np.where(same, iou, 0.0)
    matched = 0
    while iou.size and iou.max() >= THRESHOLDS[0]:
        row, column = np.unravel_index(iou.argmax(), iou.shape)
        iou[row, :] = iou[:, column] = 0.0
        matched += 1
    return 2 * matched / count
