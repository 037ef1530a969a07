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

FeatureKind = Literal["maps", "attention", "vector", "embedding"]
"""What is tapped: outputs of layers, attention maps, what the head is given, the output of the embedding layer."""


class LayerMatch(FrozenModel):
    """A layer of the student and the layer of the teacher that it learns from.

    Attributes:
        student: Name of the layer, or its number among those that a loss may look at, from 0; -1 is the last.
        teacher: Likewise.
    """

    student: str | int
    teacher: str | int


LayerSelection = Literal["auto"] | Annotated[tuple[LayerMatch | str | int, ...], Field(min_length=1)]
"""`auto`, or a list of matches; a name or a number alone means the same in both networks."""


@dataclass(frozen=True)
class MatchedLayers:
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
    teacher_index: int = 0

    def __str__(self) -> str:
        small, large = ("×".join(map(str, shape)) for shape in (self.student_shape, self.teacher_shape))
        return f"{self.student} ({small}) from {self.teacher} ({large})"


@dataclass(frozen=True)
class MatchedFeatures:
    """What a matched layer of the student and one of a teacher gave on this batch.

    Attributes:
        student: With gradient.
        teacher: Without.
        number: Which teacher, from 0.
    """

    student: Tensor
    teacher: Tensor
    teacher_index: int = 0


@dataclass(frozen=True)
class LossInputs:
    """What a term may look at.

    Attributes:
        batch: The batch, on the training device; its inputs carry a gradient for terms that need `input_gradient`.
        student_logits: Student's outputs, (N, K), with gradient.
        teacher_logits: Teacher's outputs, (N, K), float32, without gradient; None unless a term needs `teacher_logits`.
        task: For the task's own loss.
        label_smoothing: Of the task's loss.
        pairs: Matched layers of a term that needs `features`.
        gradient: ∂ log p_c / ∂x of the teacher's first choice c, shaped as the inputs; None unless a term needs it.
        learned: Modules of the term that are trained with the student; None where it has none.
        temperature: Takes the place of a term's own, a number or one for each sample (N,); None leaves it.
        importance: Weight of each sample, (N,), 1 on average; None for all alike.
    """

    batch: Batch
    student_logits: Tensor
    teacher_logits: Tensor | None
    task: Task
    label_smoothing: float = 0.0
    features: tuple[MatchedFeatures, ...] = ()
    teacher_gradient: Tensor | None = None
    modules: nn.Module | None = None
    temperature: Tensor | None = None
    sample_weights: Tensor | None = None

    def require_teacher_logits(self) -> Tensor:
        """The teacher's outputs, for a term that declares to need them."""
        if self.teacher_logits is None:
            msg = "a term that uses teacher logits must declare needs = ('teacher_logits',)"
            raise TypeError(msg)
        return self.teacher_logits

    def temperature_or(self, own: float) -> float | Tensor:
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
    feature_kind: ClassVar[FeatureKind | None] = None
    student_only: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """Loss of each sample, (N,), before weighting."""
        msg = f"{type(self).__name__} must define `each` or `value`"
        raise NotImplementedError(msg)

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar loss, averaged over the batch, before weighting."""
        each = self.per_sample(inputs)
        return each.mean() if inputs.sample_weights is None else (inputs.sample_weights * each).mean()

    @property
    def needs_unmixed(self) -> bool:
        """Whether it can only look at images as they were drawn, not at mixed or erased ones."""
        return False

    def prepare(self, joints: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
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

    def weight_at(self, progress: float) -> float:
        """The factor at a fraction of all steps in [0, 1)."""
        return self.weight * (1.0 if progress >= self.warmup else progress / self.warmup)


def online_terms(terms: Sequence[LossTerm]) -> tuple[LossTerm, ...]:
    """Terms for which the teacher itself must run at every step."""
    return tuple(term for term in terms if {"features", "input_gradient"} & set(term.needs))
