"""Multi-label classification: any number of K classes for each sample. torch is imported only for computations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import TARGET, UNLABELLED, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.class_results import ClassValues, class_results
from compress.tasks.further_results import FurtherResults
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement

MACRO_F1 = Metric(name="macro_f1", label="macro F1", unit="fraction", higher_is_better=True)
MEAN_PRECISION = Metric(name="mean_average_precision", label="mean average precision", unit="fraction", higher_is_better=True)

TAG = InferCode(
    "Print the classes:  python infer.py INPUT",
    '''

def tag(path, least=0.5):
    """The classes of a probability of `least` or more, the likeliest first."""
    logits = next(iter(run(preprocess(path)).values()))[0]
    chances = 1 / (1 + np.exp(-logits))
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return [(labels[k], float(chances[k])) for k in np.argsort(-chances) if chances[k] >= least]


if __name__ == "__main__":
    try:
        answers = tag(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot classify {sys.argv[1]}: {error}")
    for label, probability in answers:
        print(f"{probability:6.1%}  {label}")
''',
)


class MacroF1:
    """Mean over the classes of F1 at a probability of ½, from counts summed over all samples.

        F1_k = 2 TP_k / (2 TP_k + FP_k + FN_k),   mean over the classes with TP_k + FP_k + FN_k > 0

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = MACRO_F1
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """TP, FP and FN of each sample and class, float32 (N, 3K). A logit that is not finite counts as wrong."""
        import torch

        z, y = outputs[LOGITS], targets[TARGET]
        known, is_true = y >= 0, y > 0.5
        predicted = (z > 0).where(z.isfinite(), ~is_true)
        counts = [predicted & is_true, predicted & ~is_true, ~predicted & is_true]
        return torch.cat([count & known for count in counts], dim=1).float()

    def value(self, scores: Scores) -> float:
        """The mean of these samples; NaN if no class is present or predicted."""
        import numpy as np

        right, wrong, missed = scores.sum(axis=0, dtype=np.float64).reshape(3, -1)
        total = 2 * right + wrong + missed
        present = total > 0
        return float((2 * right[present] / total[present]).mean()) if present.any() else float("nan")


class MeanAveragePrecision:
    """Mean over the classes of the area under precision and recall, by torchmetrics; it needs no threshold.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = MEAN_PRECISION
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Probabilities and targets, float32 (N, 2K); a target is −1 if it is unknown."""
        import torch

        return torch.cat([outputs[LOGITS].sigmoid(), targets[TARGET].float().clamp(min=-1)], dim=1)

    def value(self, scores: Scores) -> float:
        """The mean of these samples, over the classes that are present."""
        import torch
        from torchmetrics.functional.classification import binary_average_precision

        chances, targets = torch.from_numpy(scores.copy()).nan_to_num(0.0).chunk(2, dim=1)
        columns = [(p[y >= 0], y[y >= 0].round().int()) for p, y in zip(chances.T, targets.T, strict=True)]
        each = [float(binary_average_precision(p, y)) for p, y in columns if bool(y.any())]
        return sum(each) / len(each) if each else float("nan")


def class_f1s(scores: Scores) -> ClassValues:
    """The F1 of each class, how often it is named where it is present, and the samples that have it.

    Args:
        scores: Statistics of `MacroF1`, (N, 3K).
    """
    import numpy as np

    right, wrong, missed = scores.sum(axis=0, dtype=np.float64).reshape(3, -1)
    total = 2 * right + wrong + missed
    values = np.where(total > 0, 2 * right / np.maximum(total, 1), np.nan)
    return ClassValues(values, right, (right + missed).astype(np.int64))


def constant_macro_f1(scores: Scores) -> float | None:
    """The macro F1 of naming every class for every sample: mean_k 2 n_k / (n_k + N_k), n_k of N_k samples having class k.

    Args:
        scores: Statistics of `MeanAveragePrecision`, (N, 2K).

    Returns:
        None where no sample has a class.
    """
    targets = scores[:, scores.shape[1] // 2 :]
    known, true = (targets >= 0).sum(axis=0), (targets > 0.5).sum(axis=0)
    present = true > 0
    return float((2 * true[present] / (true[present] + known[present])).mean()) if present.any() else None


class MultiLabel(Task):
    """Any number of K classes for each sample; outputs are logits (N, K), targets 0 or 1 for each class, float32 (N, K).

    A negative target is unknown; loss and metrics ignore it.

    Attributes:
        name: `multilabel`.
        metrics: The deciding metric is `macro_f1`.
        capabilities: Each output is a choice of two classes, so a sample has K rows.
        infer_code: Prints the classes.
    """

    name: ClassVar[str] = "multilabel"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (MacroF1(), MeanAveragePrecision())
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        ("continuous_input", "class_rows", "sample_vector", "image_input")
    )
    infer_code: ClassVar[InferCode] = TAG

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Logits, (batch, K)."""
        return (TensorSpec(name=LOGITS, shape=(BATCH, len(classes))),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """0 or 1 for each class, (batch, K)."""
        return (TensorSpec(name=TARGET, shape=(BATCH, len(classes))),)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy, averaged over the known targets of the batch; 0 if none is known.

            L = −mean_{n,k} [ q log σ(z) + (1 − q) log(1 − σ(z)) ],   q = (1 − ε) y + ε / 2

        Args:
            outputs: Logits z, (N, K).
            targets: y, (N, K).
            label_smoothing: ε in [0, 1).

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        z, y = outputs[LOGITS], targets[TARGET]
        known = y >= 0
        if not bool(known.any()):
            return z.sum() * 0.0
        smoothed = (1 - label_smoothing) * y[known].to(z.dtype) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(z[known], smoothed)

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of the logits; `top1` is the fraction of equal decisions at a probability of ½."""
        from compress.tasks.output_agreement import compare_outputs

        z, z_hat = reference[LOGITS], other[LOGITS]
        return replace(compare_outputs(z.numpy(), z_hat.numpy()), top1=float(((z > 0) == (z_hat > 0)).double().mean()))

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The macro F1 of naming every class for every sample, 0 where none has a class; None without statistics."""
        scores = statistics.get(MEAN_PRECISION.name)
        if scores is None:
            return 0.0 if self.metric in statistics else None
        return constant_macro_f1(scores)

    def further_results(self, statistics: Mapping[str, Scores], classes: Sequence[str], where: str) -> FurtherResults:
        """The F1 of each class, and a warning for each that is never named where it is present."""
        scores = statistics.get(self.metric)
        if scores is None:
            return FurtherResults()
        return class_results(classes, class_f1s(scores), self.metric_info, "f1", where)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """A row of two logits (0, z) for each sample and class: its softmax is (1 − σ(z), σ(z))."""
        import torch

        z, y = outputs[LOGITS], targets[TARGET]
        rows = torch.stack([torch.zeros_like(z), z], dim=-1).flatten(0, 1)
        classes = y.round().long().where(y >= 0, UNLABELLED).flatten()
        return Rows(rows, classes, torch.arange(len(z), device=z.device).repeat_interleave(z.shape[1]))
