"""Semantic segmentation: one class for each pixel. torch is imported only for computations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import IGNORED, TARGET, UNLABELLED, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.class_results import ClassValues, class_results
from compress.tasks.further_results import FurtherResults
from compress.tasks.infer_code import InferCode
from compress.tasks.infer_segmentation import SEGMENT
from compress.tasks.metric import RatioOfSums, Scores, TaskMetric
from compress.tasks.overlay import Overlay

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROWS = 2**18
"""Largest number of pixels of a batch in losses on logits. 262,144 pixels of 21 classes take 22 MB."""
MEAN_IOU = Metric(name="mean_iou", label="mean IoU", unit="fraction", higher_is_better=True)
PIXEL_ACCURACY = Metric(name="pixel_accuracy", label="pixel accuracy", unit="fraction", higher_is_better=True)


class MeanIoU:
    """Mean over the classes of the intersection over the union of predicted and true pixels, summed over all samples.

        IoU_k = I_k / (P_k + T_k − I_k),   mean over the classes with P_k + T_k > 0

    I_k are the pixels of class k that are predicted so, P_k those predicted as k, T_k those of class k; ignored pixels are
    excluded. This is the metric of Pascal VOC and Cityscapes; it is no mean over samples, so its intervals are bootstrapped.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = MEAN_IOU
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """I, P and T of each sample and class, float32 (N, 3K). A pixel with a logit that is not finite has no prediction."""
        import torch

        classes = outputs[LOGITS].shape[1]
        predicted, target = predicted_classes(outputs[LOGITS]), _with_unlabelled(targets[TARGET])
        predicted = predicted.where(target >= 0, UNLABELLED)
        intersection = target.where(predicted == target, UNLABELLED)
        counts = [_pixels_per_class(each, classes) for each in (intersection, predicted, target)]
        return torch.cat(counts, dim=1).float()

    def value(self, scores: Scores) -> float:
        """The mean IoU of these samples; NaN if no pixel has a class."""
        import numpy as np

        intersection, predicted, target = scores.sum(axis=0, dtype=np.float64).reshape(3, -1)
        union = predicted + target - intersection
        present = union > 0
        return float((intersection[present] / union[present]).mean()) if present.any() else float("nan")


def constant_iou(scores: Scores) -> float | None:
    """The mean IoU of one class for all pixels, the best there is: max_k T_k / Σ T, over the number of classes with T_k > 0.

    Args:
        scores: Statistics of `MeanIoU`, (N, 3K).

    Returns:
        None where no pixel has a class.
    """
    import numpy as np

    target = scores.sum(axis=0, dtype=np.float64).reshape(3, -1)[2]
    return float(target.max() / target.sum() / np.count_nonzero(target)) if target.any() else None


def class_ious(scores: Scores) -> ClassValues:
    """The IoU of each class, its pixels that are recognised, and the samples that have it.

    Args:
        scores: Statistics of `MeanIoU`, (N, 3K).
    """
    import numpy as np

    each = scores.astype(np.float64).reshape(len(scores), 3, -1)
    intersection, predicted, target = each.sum(axis=0)
    union = predicted + target - intersection
    values = np.where(union > 0, intersection / np.maximum(union, 1), np.nan)
    return ClassValues(values, intersection, (each[:, 2] > 0).sum(axis=0))


class PixelAccuracy(RatioOfSums):
    """Fraction of correct predictions among the pixels with a class."""

    def __init__(self) -> None:
        super().__init__(PIXEL_ACCURACY)

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Correct pixels and pixels with a class of each sample; float32 (N, 2)."""
        import torch

        target = _with_unlabelled(targets[TARGET])
        right = (predicted_classes(outputs[LOGITS]) == target) & (target >= 0)
        return torch.stack([right.flatten(1).sum(1), (target >= 0).flatten(1).sum(1)], dim=1).float()


class Segmentation(Task):
    """One of K classes for each pixel; outputs are logits (N, K, H, W), targets class indices (N, H, W).

    Loss and metrics ignore pixels whose target is negative or `IGNORED`.

    Attributes:
        name: `segmentation`.
        metrics: The deciding metric is `mean_iou`.
        capabilities: Inputs are images; a sample has many classes and many rows.
        infer_code: Writes the mask of an image.
    """

    name: ClassVar[str] = "segmentation"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (MeanIoU(), PixelAccuracy())
    infer_code: ClassVar[InferCode] = SEGMENT
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("continuous_input", "class_rows", "map_outputs", "image_input"))

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Logits, (batch, K, H, W), with the height and width of the image, free where the image's are."""
        height, width = inputs[0].shape[-2:] if inputs else ("height", "width")
        return (TensorSpec(name=LOGITS, shape=(BATCH, len(classes), height, width)),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Class of each pixel, (batch, H, W)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH, "height", "width")),)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, averaged over the pixels of the batch with a class; 0 if no pixel has one.

            L = −mean_p Σ_k q_k log softmax(z_p)_k,   q = (1 − ε)·onehot(y_p) + ε / K

        Args:
            outputs: Logits z, (N, K, H, W).
            targets: Classes y, int64 (N, H, W).
            label_smoothing: ε in [0, 1), Szegedy et al. 2016 (arXiv:1512.00567), section 7.

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        z, y = outputs[LOGITS], _with_unlabelled(targets[TARGET])
        if not bool((y >= 0).any()):
            return z.sum() * 0.0
        return F.cross_entropy(z, y, ignore_index=UNLABELLED, label_smoothing=label_smoothing)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The mean IoU of the most frequent class for all pixels; None without statistics."""
        scores = statistics.get(self.metric)
        return None if scores is None else constant_iou(scores)

    def further_results(self, statistics: Mapping[str, Scores], classes: Sequence[str], where: str) -> FurtherResults:
        """The IoU of each class, and a warning for each of which no pixel is recognised."""
        scores = statistics.get(self.metric)
        if scores is None:
            return FurtherResults()
        return class_results(classes, class_ious(scores), self.metric_info, "iou", where)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """The logits of each pixel; for batches with more than `MOST_ROWS` pixels a random choice of `MOST_ROWS`.

        The choice is seeded by the targets of the batch, whatever their order, so that it is the same for student and teacher
        and another one in the next batch.
        """
        import torch

        z, y = outputs[LOGITS], _with_unlabelled(targets[TARGET])
        rows = z.movedim(1, -1).reshape(-1, z.shape[1])
        classes, pixels = y.flatten(), y[0].numel()
        samples = torch.arange(len(y), device=y.device).repeat_interleave(pixels)
        if len(rows) <= MOST_ROWS:
            return Rows(rows, classes, samples)
        generator = torch.Generator().manual_seed(int(classes.sum()) % 2**63)
        drawn = torch.randint(len(rows), (MOST_ROWS,), generator=generator).to(y.device)
        return Rows(rows[drawn], classes[drawn], samples[drawn])

    def overlays(self, outputs: Tensors) -> list[Overlay]:
        """The predicted class of each pixel."""
        return list(predicted_classes(outputs[LOGITS]).numpy())

    def true_overlays(self, targets: Tensors) -> list[Overlay]:
        """The true class of each pixel, negative where it does not count."""
        return list(_with_unlabelled(targets[TARGET]).numpy())


def predicted_classes(logits: Tensor) -> Tensor:
    """Class with the largest logit of each pixel, int64 (N, H, W); −1 where a logit is not finite.

    Args:
        logits: (N, K, H, W).
    """
    return logits.argmax(dim=1).where(logits.isfinite().all(dim=1), -1)


def _with_unlabelled(targets: Tensor) -> Tensor:
    """The classes, `UNLABELLED` for ignored pixels."""
    return targets.masked_fill((targets < 0) | (targets == IGNORED), UNLABELLED)


def _pixels_per_class(classes: Tensor, count: int) -> Tensor:
    """Number of pixels of each class in each sample, int64 (N, K); negative classes are ignored.

    Args:
        classes: int64 (N, H, W).
        count: K.
    """
    import torch

    flat = classes.flatten(1)
    inside = (flat >= 0) & (flat < count)
    index = torch.arange(len(flat), device=flat.device)[:, None] * count + flat
    return torch.bincount(index[inside], minlength=len(flat) * count).view(len(flat), count)
