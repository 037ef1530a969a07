"""The task's own loss on hard labels, as a term among others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.train.terms import Answers, Term

if TYPE_CHECKING:
    from torch import Tensor


class HardLabels(Term):
    """`task:` in a recipe."""

    def value(self, answers: Answers) -> Tensor:
        """The task's loss, averaged over the batch."""
        return answers.task.loss(answers.student, answers.batch.targets, label_smoothing=answers.label_smoothing)
