"""Image classification: cross-entropy, top-1 accuracy. Light: torch is imported when a loss or metric is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.core.record import Metric

if TYPE_CHECKING:
    from torch import Tensor

ACCURACY = Metric(name="accuracy", label="accuracy", unit="fraction", higher_is_better=True)
"""Of classification. Records that name no metric are from before it was recorded, when there was no other."""


class Classification:
    """One class out of K for each sample; outputs are logits (N, K), targets class numbers (N,).

    Attributes:
        name: `classification`.
        metric: `accuracy`, the fraction of samples whose largest logit is the right class.
        metric_info: Its description.
    """

    name: ClassVar[str] = "classification"
    metric: ClassVar[str] = ACCURACY.name
    metric_info: ClassVar[Metric] = ACCURACY

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, averaged over the batch.

            L = −mean_n Σ_k q_k log softmax(z)_k,   q = (1 − ε)·onehot(y) + ε / K

        Args:
            outputs: Logits z, (N, K).
            targets: Classes y, int64 (N,).
            label_smoothing: ε in [0, 1), Szegedy et al. 2016 (arXiv:1512.00567), section 7.

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """`accuracy`, with more than 5 classes `accuracy_top5`, and `calibration_error`, all in [0, 1].

        The calibration error (Guo et al. 2017, arXiv:1706.04599, section 2) is the mean distance between confidence and
        accuracy over 15 bins of confidence: what quantization and distillation shift even where the accuracy stays.

        Args:
            outputs: Logits, (N, K) with K over 1.
            targets: Classes, int64 (N,).
        """
        from torchmetrics.functional import classification as measures

        k = outputs.shape[1]
        values = {
            self.metric: measures.multiclass_accuracy(outputs, targets, num_classes=k, average="micro"),
            "calibration_error": measures.multiclass_calibration_error(
                outputs.softmax(dim=1), targets, num_classes=k, n_bins=15
            ),
        }
        if k > 5:
            values["accuracy_top5"] = measures.multiclass_accuracy(outputs, targets, num_classes=k, average="micro", top_k=5)
        return {name: float(value) for name, value in values.items()}

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """1 where the largest logit is the right class, else 0, also where a logit is not finite; float32 (N,)."""
        return ((outputs.argmax(dim=1) == targets) & outputs.isfinite().all(dim=1)).float()
