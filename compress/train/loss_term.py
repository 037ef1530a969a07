"""A loss term: what it needs of student and teacher, its weight, and the pure function that it calls.

Light: a recipe's `losses:` is read and checked without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from compress.core.record import FrozenModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.data.interface import Batch
    from compress.tasks.base import Task

Need = Literal["teacher_logits", "features", "input_gradient"]
"""`features` and `input_gradient` need the teacher itself at every step, not its kept answers."""

Sight = Literal["maps", "attention", "vector", "embedding"]
"""What is tapped: outputs of layers, attention maps, what the head is given, the output of the embedding layer."""


class Match(FrozenModel):
    """A layer of the student and the layer of the teacher that it learns from.

    Attributes:
        student: Name of the layer, or its number among those that a loss may look at, from 0; -1 is the last.
        teacher: Likewise.
    """

    student: str | int
    teacher: str | int


Layers = Literal["auto"] | Annotated[tuple[Match | str | int, ...], Field(min_length=1)]
"""`auto`, or a list of matches; a name or a number alone means the same in both networks."""


@dataclass(frozen=True)
class Joint:
    """Two layers that were matched.

    Attributes:
        student: Name of the student's layer.
        student_shape: What it gives for one sample.
        teacher: Name of the teacher's layer.
        teacher_shape: What it gives for one sample.
        number: Which teacher, from 0.
    """

    student: str
    student_shape: tuple[int, ...]
    teacher: str
    teacher_shape: tuple[int, ...]
    number: int = 0

    def __str__(self) -> str:
        small, large = ("×".join(map(str, shape)) for shape in (self.student_shape, self.teacher_shape))
        return f"{self.student} ({small}) from {self.teacher} ({large})"


@dataclass(frozen=True)
class Pair:
    """What a matched layer of the student and one of a teacher gave on this batch.

    Attributes:
        student: With gradient.
        teacher: Without.
        number: Which teacher, from 0.
    """

    student: Tensor
    teacher: Tensor
    number: int = 0


@dataclass(frozen=True)
class Answers:
    """What a term may look at.

    Attributes:
        batch: The batch, on the training device; its inputs carry a gradient for terms that need `input_gradient`.
        student: Student's outputs, (N, K), with gradient.
        teacher: Teacher's outputs, (N, K), float32, without gradient; None unless a term needs `teacher_logits`.
        task: For the task's own loss.
        label_smoothing: Of the task's loss.
        pairs: Matched layers of a term that needs `features`.
        gradient: ∂ log p_c / ∂x of the teacher's first choice c, shaped as the inputs; None unless a term needs it.
        learned: Modules of the term that are trained with the student; None where it has none.
        temperature: Takes the place of a term's own, a number or one for each sample (N,); None leaves it.
        importance: Weight of each sample, (N,), 1 on average; None for all alike.
    """

    batch: Batch
    student: Tensor
    teacher: Tensor | None
    task: Task
    label_smoothing: float = 0.0
    pairs: tuple[Pair, ...] = ()
    gradient: Tensor | None = None
    learned: nn.Module | None = None
    temperature: Tensor | None = None
    importance: Tensor | None = None

    def teacher_logits(self) -> Tensor:
        """Teacher's outputs of a term that declared to need them."""
        if self.teacher is None:
            msg = "a term that uses teacher logits must declare needs = ('teacher_logits',)"
            raise TypeError(msg)
        return self.teacher

    def softness(self, own: float) -> float | Tensor:
        """The temperature to use: the curriculum's where there is one, else the term's `own`."""
        return own if self.temperature is None else self.temperature


class LossTerm(FrozenModel):
    """One entry of `losses:`. The training loss is the weighted sum of the terms.

    A term whose loss is a mean over samples defines `each`, one that looks at a batch as a whole `value`.

    Attributes:
        weight: Factor of this term.
        warmup: Fraction of all steps over which the factor rises linearly from 0.
        needs: What must be computed for it besides the student's outputs.
        sees: What is tapped for a term that needs `features`.
        alone: Whether what it sees are the student's own layers, with no teacher beside them.
        labelled: Whether it looks at the labels.
    """

    weight: float = Field(default=1.0, ge=0.0)
    warmup: float = Field(default=0.0, ge=0.0, le=1.0)
    needs: ClassVar[tuple[Need, ...]] = ()
    sees: ClassVar[Sight | None] = None
    alone: ClassVar[bool] = False
    labelled: ClassVar[bool] = False

    def each(self, answers: Answers) -> Tensor:
        """Loss of each sample, (N,), before weighting."""
        msg = f"{type(self).__name__} must define `each` or `value`"
        raise NotImplementedError(msg)

    def value(self, answers: Answers) -> Tensor:
        """Scalar loss, averaged over the batch, before weighting."""
        each = self.each(answers)
        return each.mean() if answers.importance is None else (answers.importance * each).mean()

    @property
    def whole(self) -> bool:
        """Whether it can only look at images as they were drawn, not at mixed or erased ones."""
        return False

    def prepare(self, joints: Sequence[Joint], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Look at what was matched, before the first step.

        Args:
            joints: What was matched.
            samples: Of the training split.

        Returns:
            Modules to train with the student and to drop afterwards, such as adapters between widths; None for none.

        Raises:
            ModelError: The shapes do not go together.
        """
        return None

    def share(self, progress: float) -> float:
        """The factor at a fraction of all steps in [0, 1)."""
        return self.weight * (1.0 if progress >= self.warmup else progress / self.warmup)


def live(terms: Sequence[LossTerm]) -> tuple[LossTerm, ...]:
    """Terms for which the teacher itself must run at every step."""
    return tuple(term for term in terms if {"features", "input_gradient"} & set(term.needs))
