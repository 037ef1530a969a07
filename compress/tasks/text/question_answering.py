"""Extractive question answering: the part of a text that answers a question. torch is imported only for computations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from compress.core.frozen_model import FrozenModel
from compress.core.signature import BATCH, SEQUENCE, TensorSpec
from compress.data.batch import Split, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.calibration_samples import Sample
from compress.tasks.capability import Capability
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.text.answer_metric import (
    ANSWER_F1,
    END,
    END_TARGET,
    EXACT_MATCH,
    START,
    START_TARGET,
    AnswerMetric,
    text_places,
)
from compress.tasks.text.best_span import FORBIDDEN
from compress.tasks.text.infer_codes import ANSWER, ANSWER_OR_NONE

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement

MARGIN = 10.0
"""How far the logits of other places are below the lowest logit of the text, in rows of losses: e⁻¹⁰ of its probability."""


class QuestionAnsweringOptions(FrozenModel):
    """Options of the task `question_answering`.

    Attributes:
        null_answers: Whether a question may have no answer, as in SQuAD 2.0: its place is then the first token.
    """

    null_answers: bool = False


class QuestionAnswering(Task):
    """The first and the last token of the answer; outputs are logits over the tokens, (N, L) each.

    Targets are `start` and `end`, token numbers (N,), 0 for no answer and negative for a window without the answer. The metrics
    compare text, if the data have:

        context          code points of the text, (N, C), 0 after its end
        first_character  of each token in the text, (N, L)
        next_character   the one after the last of each token, (N, L); equal for what is not in the text
        answers          code points of the true answers, (N, A), with U+001E between two; none for a question without one
        question         number of the question, (N,), equal for the windows of one text

    Args:
        null_answers: Whether a question may have no answer.

    Attributes:
        name: `question_answering`.
        metrics: The deciding metric is `answer_f1`.
        capabilities: A sample has two rows, over the places of its tokens.
        settings: `null_answers`.
        infer_code: Prints the answer to a question from a text.
    """

    name: ClassVar[str] = "question_answering"
    settings: ClassVar[type[BaseModel]] = QuestionAnsweringOptions
    metrics: ClassVar[tuple[TaskMetric, ...]] = (AnswerMetric(ANSWER_F1), AnswerMetric(EXACT_MATCH))
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("class_rows",))

    infer_code: ClassVar[InferCode] = ANSWER

    def __init__(self, *, null_answers: bool = False) -> None:
        self.null_answers = null_answers
        if null_answers:
            self.infer_code = ANSWER_OR_NONE  # type: ignore[misc]
        infos = (ANSWER_F1, EXACT_MATCH)
        self.metrics = tuple(AnswerMetric(info, null_answers=null_answers) for info in infos)  # type: ignore[misc]

    @classmethod
    def infer_codes(cls) -> tuple[InferCode, ...]:
        """The code without and with questions that have no answer."""
        return (ANSWER, ANSWER_OR_NONE)

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Logits of the first and of the last token, (batch, sequence) each."""
        length = inputs[0].shape[1] if inputs else SEQUENCE
        return tuple(TensorSpec(name=name, shape=(BATCH, length)) for name in (START, END))

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Tokens, (batch,) each."""
        return tuple(TensorSpec(name=name, dtype="int64", shape=(BATCH,)) for name in (START_TARGET, END_TARGET))

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Mean of the cross-entropies of both places, each averaged over the windows with an answer; 0 if none has one.

            L = ½ (CE(start, s) + CE(end, e))

        Places that are not in the text have probability 0, but for the first token. A place beyond the window has no answer.

        Args:
            outputs: Logits, (N, L) each.
            targets: Places s and e, int64 (N,).
            label_smoothing: ε in [0, 1), over all places.

        Returns:
            Scalar, at least 0.
        """
        from torch.nn import functional as F

        losses = []
        for logits, places in self._heads(outputs, targets):
            known = (places >= 0) & (places < logits.shape[1])
            z = logits if label_smoothing else logits.masked_fill(~self._places(targets, logits), FORBIDDEN)
            mean = (
                F.cross_entropy(z[known], places[known], label_smoothing=label_smoothing) if bool(known.any()) else z.sum() * 0
            )
            losses.append(mean)
        return (losses[0] + losses[1]) / 2

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """Logits over the tokens, first those of the first tokens, then those of the last ones, (2N, L).

        A place that is not in the text has the lowest logit of the text less `MARGIN`.
        """
        import torch

        rows, classes = [], []
        for logits, places in self._heads(outputs, targets):
            allowed = self._places(targets, logits)
            lowest = logits.detach().masked_fill(~allowed, torch.inf).amin(dim=1, keepdim=True)
            rows.append(torch.where(allowed, logits, lowest - MARGIN))
            classes.append(places)
        samples = torch.arange(len(rows[0]), device=rows[0].device).repeat(2)
        return Rows(torch.cat(rows), torch.cat(classes), samples)

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of all logits, and the fraction of equal first and last tokens."""
        import torch

        from compress.tasks.output_agreement import compare_outputs

        joined = (torch.stack([outputs[START], outputs[END]], dim=2) for outputs in (reference, other))
        return compare_outputs(*(each.numpy() for each in joined))

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:  # noqa: ARG002
        """Samples of all lengths; arguments as for `Task.calibration`."""
        from compress.tasks.text.samples_by_length import samples_by_length

        return samples_by_length(split, samples, seed)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """What no answer to all questions reaches: the fraction of questions without one, if there may be such; else 0."""
        scores = statistics.get(self.metric)
        if not self.null_answers or scores is None:
            return 0.0
        metric = AnswerMetric(ANSWER_F1, null_answers=True)
        constant = scores.copy()
        constant[:, 2] = float("inf")  # the score of no answer
        return metric.value(constant)

    def _heads(self, outputs: Tensors, targets: Tensors) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (outputs[START], targets[START_TARGET]), (outputs[END], targets[END_TARGET])

    def _places(self, targets: Tensors, logits: Tensor) -> Tensor:
        """Places of the text, and the first token, bool (N, L)."""
        allowed = text_places(targets, logits).clone()
        allowed[:, 0] = True
        return allowed
