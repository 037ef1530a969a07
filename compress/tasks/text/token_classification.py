"""Token classification: one of K tags for each token, such as entities. torch is imported only for computations."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.signature import BATCH, SEQUENCE, TensorSpec
from compress.data.batch import TARGET, UNLABELLED, Split, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.class_results import class_results
from compress.tasks.further_results import FurtherResults
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.text.infer_codes import FIND_ENTITIES
from compress.tasks.text.span_metric import SpanF1, TokenAccuracy, constant_span_f1, type_f1s
from compress.tasks.text.spans import TagScheme
from compress.tasks.text.token_rows import token_rows

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement


class TokenClassification(Task):
    """One of K tags for each token; outputs are logits (N, L, K), targets tag numbers (N, L).

    A target is `UNLABELLED` for padding, and another negative number for a token without a tag, such as the second part of a
    word; these count for distillation alone.

    Attributes:
        name: `token_classification`.
        metrics: The deciding metric is `span_f1`.
        capabilities: A sample has many rows.
        infer_code: Prints the entities of a text.
    """

    name: ClassVar[str] = "token_classification"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (SpanF1(), TokenAccuracy())
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("class_rows", "fixed_rows"))
    infer_code: ClassVar[InferCode] = FIND_ENTITIES

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Logits, (batch, sequence, K)."""
        length = inputs[0].shape[1] if inputs else SEQUENCE
        return (TensorSpec(name=LOGITS, shape=(BATCH, length, len(classes))),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Tag of each token, (batch, sequence)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH, SEQUENCE), values=(UNLABELLED, max(0, len(classes) - 1))),)

    def for_spec(self, spec: NetworkSpec) -> Self:
        """The task with the names of the tags.

        Raises:
            DataError: No tag has an entity.
        """
        bound = copy.copy(self)
        bound.metrics = (SpanF1(spec.classes), *self.metrics[1:])  # type: ignore[misc]
        return bound

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that a tag has an entity.

        Raises:
            DataError: None has.
        """
        TagScheme.of(spec.classes)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, averaged over the tokens of the batch with a tag; 0 if no token has one.

            L = −mean_t Σ_k q_k log softmax(z_t)_k,   q = (1 − ε)·onehot(y_t) + ε / K

        Args:
            outputs: Logits z, (N, L, K).
            targets: Tags y, int64 (N, L).
            label_smoothing: ε in [0, 1), Szegedy et al. 2016 (arXiv:1512.00567), section 7.

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        z, y = outputs[LOGITS], targets[TARGET]
        known = y >= 0
        if not bool(known.any()):
            return z.sum() * 0.0
        return F.cross_entropy(z[known], y[known], label_smoothing=label_smoothing)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """The logits of the tokens that are no padding, see `token_rows`."""
        return token_rows(outputs[LOGITS], targets[TARGET])

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of the logits, and the fraction of tokens with the same tag."""
        from compress.tasks.output_agreement import compare_outputs

        return compare_outputs(*(outputs[LOGITS].movedim(2, 1).numpy() for outputs in (reference, other)))

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Samples of all lengths; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The span F1 of the best answer that is the same for all tokens; 0, that of `O`, without statistics."""
        scores = statistics.get(self.metric)
        return 0.0 if scores is None else constant_span_f1(scores)

    def further_results(self, statistics: Mapping[str, Scores], classes: Sequence[str], where: str) -> FurtherResults:
        """The F1 of each type, and a warning for each of which no entity is found."""
        scores = statistics.get(self.metric)
        if scores is None:
            return FurtherResults()
        return class_results(TagScheme.of(classes).names, type_f1s(scores), self.metric_info, "f1", where)
