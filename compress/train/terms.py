"""A loss term: what it needs of student and teacher, its weight, and the pure function that it calls.

Light: a recipe's `losses:` is read and checked without torch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compress.record import Frozen

if TYPE_CHECKING:
    from torch import Tensor

    from compress.data.splits import Batch
    from compress.tasks.base import Task

Need = Literal["teacher_logits"]


@dataclass(frozen=True)
class Answers:
    """What a term may look at.

    Attributes:
        batch: The batch, on the training device.
        student: Student's outputs, (N, K), with gradient.
        teacher: Teacher's outputs, (N, K), float32, without gradient; None unless a term needs `teacher_logits`.
        task: For the task's own loss.
        label_smoothing: Of the task's loss.
    """

    batch: Batch
    student: Tensor
    teacher: Tensor | None
    task: Task
    label_smoothing: float = 0.0

    def teacher_logits(self) -> Tensor:
        """Teacher's outputs of a term that declared to need them."""
        if self.teacher is None:
            msg = "a term that uses teacher logits must declare needs = ('teacher_logits',)"
            raise TypeError(msg)
        return self.teacher


class Term(Frozen):
    """One entry of `losses:`. The training loss is the weighted sum of the terms.

    Attributes:
        weight: Factor of this term.
        needs: What must be computed for it besides the student's outputs.
    """

    weight: float = Field(default=1.0, ge=0.0)
    needs: ClassVar[tuple[Need, ...]] = ()

    @abstractmethod
    def value(self, answers: Answers) -> Tensor:
        """Scalar loss, averaged over the batch, before weighting."""
