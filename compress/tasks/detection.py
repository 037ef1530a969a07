"""Object detection: boxes of objects and their classes. torch is imported only for computations.

A detector receives one image of a fixed size and returns three tensors for its A anchors, see `compress.tasks.boxes`:

    class_logits   (batch, A, K)   an independent logit for each class; none for the background
    boxes          (batch, A, 4)   offsets t from the anchors, or (batch, A, 4 K) with those of each class
    anchors        (batch, A, 4)   pixels; constants of the network, repeated for each sample, or proposals of each image

The anchors are an output so that an exported file has everything for loss, metric and decoding, and so that
networks with other anchors can be compared. Decoding and non-maximum suppression are outside the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compress.core.errors import DataError, ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import Tensors
from compress.data.detection_targets import BOXES, CLASSES
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.class_results import class_results
from compress.tasks.detection_metric import AveragePrecision, class_precisions, detection_statistics
from compress.tasks.detection_outputs import AGREEMENT_SCORE, ANCHORS, CLASS_LOGITS, IMAGE_SIZE, OFFSET_VALUES, OFFSETS
from compress.tasks.detections import (
    detection_agreement,
    has_equal_anchors,
    image_sizes,
    postprocess,
    ranked_scores,
    true_objects,
)
from compress.tasks.further_results import FurtherResults
from compress.tasks.infer_code import InferCode
from compress.tasks.infer_detection import DETECT
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.overlay import Boxes, Overlay
from compress.tasks.two_stage_outputs import (
    OBJECTNESS,
    PROPOSAL_LABELS,
    PROPOSALS,
    is_two_stage,
    proposal_rows,
    two_stage_loss,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.tasks.boxes import Detections
    from compress.tasks.output_agreement import OutputAgreement
    from compress.tasks.postprocessing import Postprocessing

DRAWN_SCORE = 0.3
"""Lower scores are not drawn, as in `infer.py`."""
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
BOX_WEIGHT = 2.0
"""Factor of the box term of the loss."""
BACKGROUND_ROWS = 3
"""Number of background rows for each matched anchor in losses on logits, as in SSD (Liu et al. 2016)."""


class Detection(Task):
    """Boxes of objects of K classes; for the outputs see the docstring of this module.

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
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("image_input", "class_rows", "box_targets", "postprocessing"))
    infer_code: ClassVar[InferCode] = DETECT

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Class logits, offsets and anchors; the number of anchors depends on the network."""
        return (
            TensorSpec(name=CLASS_LOGITS, shape=(BATCH, ANCHORS, len(classes))),
            TensorSpec(name=OFFSETS, shape=(BATCH, ANCHORS, OFFSET_VALUES)),
            TensorSpec(name=ANCHORS, shape=(BATCH, ANCHORS, 4)),
        )

    def name_outputs(self, outputs: object) -> Tensors:
        """Outputs by name.

        Raises:
            ModelError: An output is missing, or the offsets have another number of values.
        """
        named = super().name_outputs(outputs)
        logits, offsets = named.get(CLASS_LOGITS), named.get(OFFSETS)  # a task derived from this one may name other outputs
        if logits is not None and offsets is not None and offsets.ndim and offsets.shape[-1] not in (4, 4 * logits.shape[-1]):
            msg = gettext(
                "the network gives {name} of shape {shape}; the last axis must have 4 values, or 4 for each of the {count} "
                "classes",
                name=OFFSETS,
                shape=tuple(offsets.shape),
                count=logits.shape[-1],
            )
            raise ModelError(msg)
        return named

    def training_forward(self, module: nn.Module, inputs: Tensors, targets: Tensors) -> Tensors:
        """Outputs that the loss is computed from; detectors of two stages need the targets for them.

        Args:
            module: The network.
            inputs: The image.
            targets: `boxes` and `classes`, and `proposals` of another network.
        """
        if not is_two_stage(module):
            return self.forward(module, inputs)
        outputs: Tensors = module(*inputs.values(), targets[BOXES], targets[CLASSES], targets.get(PROPOSALS))
        return outputs

    def teacher_targets(self, outputs: Tensors, targets: Tensors) -> Tensors:
        """The targets with the proposals that a student of two stages was trained on, which its teacher is to judge, too."""
        return {**targets, **{name: outputs[name] for name in (PROPOSALS, PROPOSAL_LABELS) if name in outputs}}

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Boxes and classes, padded."""
        return (
            TensorSpec(name=BOXES, shape=(BATCH, "objects", 4)),
            TensorSpec(name=CLASSES, dtype="int64", shape=(BATCH, "objects")),
        )

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the data are images of one size.

        Raises:
            DataError: They are not images of one size.
        """
        inputs = spec.signature.inputs
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or any(isinstance(axis, str) for axis in inputs[0].shape[1:]):
            msg = gettext(
                "detection needs one image of a fixed size, (batch, C, H, W); the data has {inputs}",
                inputs=", ".join(map(str, inputs)),
            )
            raise DataError(msg)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Focal loss of the classes and generalized IoU of the boxes, divided by the number of matched anchors P.

            L = 1/P · ( Σ_a Σ_k α_k (1 − p_k)^γ · −log p_k  +  2 · Σ_matched (1 − GIoU(box_a, true box)) )

        p_k is σ(z_k) for the true class and 1 − σ(z_k) for the others; anchors between the IoU limits of the matching are left
        out of the first sum. Lin et al. 2017 (arXiv:1708.02002), Rezatofighi et al. 2019 (arXiv:1902.09630).

        Args:
            outputs: Outputs of the detector. For those of a detector of two stages in training the loss is
                `compress.tasks.two_stage_outputs.two_stage_loss`; for its other outputs it is this one, of the proposals.
            targets: `boxes` and `classes`.
            label_smoothing: ε in [0, 1): the targets of the logits become (1 − ε) · y + ε / 2.

        Returns:
            Scalar, at least 0.
        """
        from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

        from compress.tasks.boxes import BETWEEN, class_offsets, decode_boxes

        if OBJECTNESS in outputs:
            return two_stage_loss(outputs, label_smoothing=label_smoothing)
        matches, boxes, classes = match_batch(outputs, targets)
        z, matched = outputs[CLASS_LOGITS], matches >= 0
        y = z.new_zeros(z.shape)
        y[matched] = y[matched].scatter(1, classes[matched][:, None], 1.0)
        y = (1 - label_smoothing) * y + label_smoothing / 2
        counted = matches != BETWEEN
        focal = sigmoid_focal_loss(z[counted], y[counted], alpha=FOCAL_ALPHA, gamma=FOCAL_GAMMA, reduction="sum")
        offsets = class_offsets(outputs[OFFSETS][matched], classes[matched])
        decoded = decode_boxes(offsets, outputs[ANCHORS][matched])
        overlap = generalized_box_iou_loss(decoded, boxes[matched], reduction="sum")
        total: Tensor = (focal + BOX_WEIGHT * overlap) / max(1, int(matched.sum()))
        return total

    def complete_outputs(self, outputs: Tensors, inputs: Tensors) -> Tensors:
        """The outputs and the size of the images, which boxes are clipped to."""
        return {**outputs, IMAGE_SIZE: image_sizes(inputs)}

    def scores(self, outputs: Tensors, targets: Tensors, metrics: Sequence[TaskMetric]) -> dict[str, Tensor]:
        """Statistics of each sample; non-maximum suppression and matching run once for all metrics."""
        shared = detection_statistics(postprocess(outputs), targets, outputs[CLASS_LOGITS].shape[2])
        return {metric.info.name: metric.of_thresholds(shared) for metric in metrics if isinstance(metric, AveragePrecision)}

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """0, of no box."""
        return 0.0

    def further_results(self, statistics: Mapping[str, Scores], classes: Sequence[str], where: str) -> FurtherResults:
        """The average precision of each class at an IoU of 0.5, and a warning for each of which no box is recognised."""
        scores = statistics.get(self.metric)
        if scores is None:
            return FurtherResults()
        return class_results(classes, class_precisions(scores), self.metric_info, "ap50", where)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """Anchors as rows of K + 1 logits: 0 for the background, and those of the classes.

        For K = 1 a softmax over such a row is the sigmoid, so that losses on logits also compare whether there is an object.
        Rows are the matched anchors, with the class of their box, and for each of them three of the background, evenly spaced:
        most anchors are easy background and would dominate the loss. The choice depends only on anchors and targets, so it is
        the same for student and teacher where these have equal anchors. Of detectors of two stages the rows are proposals, see
        `compress.tasks.two_stage_outputs.proposal_rows`.
        """
        import torch

        from compress.tasks.boxes import BACKGROUND

        if CLASS_LOGITS not in outputs:
            return Rows(*proposal_rows(outputs, targets))
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
        """Differences of logits and offsets; `top1` is the fraction of common detections of both networks.

        Over detections of a score of at least 0.3: 2 · matched / (detections of a + of b), matched at an IoU of at least 0.5
        with the same class; 1 for an image without detections. Where the anchors of both differ, as proposals do,
        the differences are those of the scores of the detections, place by place.
        """
        import torch

        from compress.tasks.output_agreement import compare_outputs

        equal_anchors = has_equal_anchors(reference, other)
        if equal_anchors:
            flat = [
                torch.cat([each[name].flatten(1) for name in (CLASS_LOGITS, OFFSETS)], dim=1).numpy()
                for each in (reference, other)
            ]
        else:
            flat = [ranked_scores(each).numpy() for each in (reference, other)]
        same = [
            detection_agreement(a, b)
            for a, b in zip(*(postprocess(each, least_score=AGREEMENT_SCORE) for each in (reference, other)), strict=True)
        ]
        compared = compare_outputs(*flat)
        scale = compared.scale if equal_anchors else 1.0  # scores are in [0, 1], however low those of a network are
        return replace(compared, scale=scale, top1=float(np.mean(same)))

    def overlays(self, outputs: Tensors) -> list[Overlay]:
        """Boxes of the detections of a score of at least `DRAWN_SCORE`."""
        detections = postprocess(outputs, least_score=DRAWN_SCORE)
        return [Boxes(each.boxes.numpy(), each.classes.numpy(), each.scores.numpy()) for each in detections]

    def true_overlays(self, targets: Tensors) -> list[Overlay]:
        """The true boxes."""
        return [Boxes(boxes.numpy(), classes.numpy()) for boxes, classes in true_objects(targets)]

    def postprocess(self, outputs: Tensors) -> list[Detections]:
        """Detections of each image; see `compress.tasks.boxes.select_detections`."""
        return postprocess(outputs)

    @property
    def postprocessing(self) -> Postprocessing | None:
        """Decoding and non-maximum suppression."""
        from compress.tasks.nms import NonMaximumSuppression

        return NonMaximumSuppression()


def match_batch(outputs: Tensors, targets: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """Index of the box that each anchor is matched with, see `match_anchors`, its corners and its class.

    Returns:
        Matches int64 (N, A), boxes (N, A, 4), classes int64 (N, A); the last two are undefined without a match.
    """
    from compress.tasks.boxes import match_anchors

    boxes, classes = targets[BOXES], targets[CLASSES]
    matches = match_anchors(outputs[ANCHORS].detach().float(), boxes, classes >= 0)
    index = matches.clamp(min=0)
    return matches, boxes.gather(1, index[..., None].expand(-1, -1, 4)), classes.gather(1, index)
