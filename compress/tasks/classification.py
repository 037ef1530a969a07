"""Image classification: cross-entropy, top-1 accuracy. torch is imported only for computations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.language import gettext
from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import TARGET, Split, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.infer_code import CLASSIFY, InferCode
from compress.tasks.metric import MeanOfScores, Scores, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.calibration_samples import Sample

ACCURACY = Metric(name="accuracy", label="accuracy", unit="fraction", higher_is_better=True)
"""The deciding metric of classification, also of older records without a metric."""


class TopKAccuracy(MeanOfScores):
    """Fraction of samples whose target is among the classes with the k largest logits.

    Args:
        k: Number of classes.
    """

    def __init__(self, k: int = 1) -> None:
        name = "accuracy" if k == 1 else f"accuracy_top{k}"
        label = gettext("top-{k} accuracy", k=k)
        super().__init__(ACCURACY if k == 1 else ACCURACY.model_copy(update={"name": name, "label": label}))
        self.k = k

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """1 for a correct sample, else 0, also if a logit is not finite; float32 (N,).

        NaN if there are only k classes, since then every network is correct.
        """
        logits, target = outputs[LOGITS], targets[TARGET]
        if 1 < self.k >= logits.shape[1]:
            return logits.new_full((len(logits),), float("nan"))
        if self.k == 1:
            right = logits.argmax(dim=1) == target
        else:
            right = (logits.topk(min(self.k, logits.shape[1]), dim=1).indices == target[:, None]).any(dim=1)
        return (right & logits.isfinite().all(dim=1)).float()


class CalibrationError:
    """Mean distance of confidence and accuracy over 15 bins of confidence (Guo et al. 2017, arXiv:1706.04599, section 2).

    Quantization and distillation can change it at equal accuracy.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = Metric(name="calibration_error", label="calibration error", unit="fraction", higher_is_better=False)
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Confidence (the largest probability), and whether that class is correct; float32 (N, 2)."""
        import torch

        confidence, top = outputs[LOGITS].softmax(dim=1).max(dim=1)
        return torch.stack([confidence, (top == targets[TARGET]).float()], dim=1)

    def value(self, scores: Scores) -> float:
        """Σ_b n_b / N · |accuracy_b − confidence_b|."""
        import torch
        from torchmetrics.functional.classification import binary_calibration_error

        confidence, right = torch.from_numpy(scores.T.copy()).nan_to_num(0.0)
        return float(binary_calibration_error(confidence, right.int(), n_bins=15))


class Classification(Task):
    """One class out of K for each sample; outputs are logits (N, K), targets class indices (N,).

    Attributes:
        name: `classification`.
        metrics: The deciding metric is `accuracy`, the fraction of samples whose largest logit is the correct class.
        capabilities: All but maps and boxes.
    """

    name: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (TopKAccuracy(), TopKAccuracy(5), CalibrationError())
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        (
            "continuous_input",
            "class_targets",
            "class_rows",
            "per_sample_score",
            "row_per_sample",
            "sample_vector",
            "image_input",
        )
    )
    infer_code: ClassVar[InferCode] = CLASSIFY

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Logits, (batch, K)."""
        return (TensorSpec(name=LOGITS, shape=(BATCH, len(classes))),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Class indices, (batch,)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH,), values=(0, max(0, len(classes) - 1))),)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, averaged over the samples of the batch with a label; 0 if no sample has one.

            L = −mean_n Σ_k q_k log softmax(z)_k,   q = (1 − ε)·onehot(y) + ε / K

        Args:
            outputs: Logits z, (N, K).
            targets: Classes y, int64 (N,); negative without a label.
            label_smoothing: ε in [0, 1), Szegedy et al. 2016 (arXiv:1512.00567), section 7.

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        z, y = outputs[LOGITS], targets[TARGET]
        labelled = y >= 0
        if not bool(labelled.all()):
            if not bool(labelled.any()):
                return z.sum() * 0.0
            z, y = z[labelled], y[labelled]
        return F.cross_entropy(z, y, label_smoothing=label_smoothing)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """1/K."""
        return 1 / len(classes) if classes else None

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """The logits."""
        return Rows(outputs[LOGITS], targets[TARGET])

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:
        """A seeded random choice with equal numbers of all classes; arguments as for `Task.calibration`."""
        from compress.tasks.calibration_samples import samples_of_classes

        return samples_of_classes(split, samples, seed, classes)
