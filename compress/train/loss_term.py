"""A loss term: what it needs of student and teacher, its weight, and the pure function that it calls.

Nothing heavy is imported here: a recipe's `losses:` is read and checked without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from compress.core.frozen_model import FrozenModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.data.batch import Batch, Tensors
    from compress.tasks.base import Capability, Task

Need = Literal["teacher_logits", "features", "input_gradient"]
"""`teacher_logits` can be read from the cache; for `features` and `input_gradient` the teacher runs in every step."""

FeatureKind = Literal["maps", "attention", "vector", "embedding"]
"""Outputs of layers, attention maps, the input of the classifier head, the output of the embedding layer."""


NETWORK_OUTPUT = "output"
"""In place of a layer's name: the output of the network itself, where it has no layer of this name."""


class LayerMatch(FrozenModel):
    """A layer of the student and the layer of the teacher that it learns from.

    Attributes:
        student: Name of the layer, or its index among the candidates of the loss, from 0; -1 is the last.
        teacher: Likewise.
    """

    student: str | int
    teacher: str | int


LayerSelection = Literal["auto"] | Annotated[tuple[LayerMatch | str | int, ...], Field(min_length=1)]
"""`auto`, or a list of matches; a name or an index alone selects the same layer in both networks."""


@dataclass(frozen=True)
class MatchedLayers:
    """A layer of the student matched with a layer of a teacher.

    Attributes:
        student: Name of the student's layer.
        student_shape: Shape of its output for one sample.
        teacher: Name of the teacher's layer.
        teacher_shape: Shape of its output for one sample.
        teacher_index: Which teacher, from 0.
    """

    student: str
    student_shape: tuple[int, ...]
    teacher: str
    teacher_shape: tuple[int, ...]
    teacher_index: int = 0

    def __str__(self) -> str:
        student_shape, teacher_shape = ("×".join(map(str, shape)) for shape in (self.student_shape, self.teacher_shape))
        return f"{self.student} ({student_shape}) from {self.teacher} ({teacher_shape})"


@dataclass(frozen=True)
class MatchedFeatures:
    """Features of two matched layers on one batch.

    Attributes:
        student: With gradient.
        teacher: Without gradient.
        teacher_index: Which teacher, from 0.
    """

    student: Tensor
    teacher: Tensor
    teacher_index: int = 0


@dataclass(frozen=True)
class LossInputs:
    """What a term may use.

    Attributes:
        batch: The batch, on the training device; its inputs carry a gradient for terms that need `input_gradient`.
        student_logits: The student's distillable rows, (R, K), with gradient; of a classifier its logits, R = N.
        teacher_logits: The teacher's rows, (R, K), float32, without gradient; None unless a term needs them.
        task: Gives the task's own loss.
        label_smoothing: Of the task's loss.
        features: Matched features of a term that needs `features`.
        teacher_gradient: ∂ log p_c / ∂x of the teacher's predicted class c, shaped as the inputs; None unless a term needs it.
        modules: Modules of the term that are trained with the student; None where it has none.
        temperature: Replaces a term's own temperature, (R,); None keeps it.
        sample_weights: Weight of each row, (R,), 1 on average; None for equal weights.
        outputs: The student's named outputs; empty where they are the logits alone.
        row_targets: Class of each row, int64 (R,); None where each sample has one row and one class.
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
    outputs: Tensors = field(default_factory=dict)
    row_targets: Tensor | None = None

    @property
    def targets(self) -> Tensor:
        """Class of each row, int64 (R,); negative where it has none."""
        return self.batch.target if self.row_targets is None else self.row_targets

    def task_loss(self) -> Tensor:
        """The task's own loss on hard labels, a scalar."""
        outputs = self.outputs or dict.fromkeys(self.task.output_names, self.student_logits)
        return self.task.loss(outputs, self.batch.targets, label_smoothing=self.label_smoothing)

    def require_teacher_logits(self) -> Tensor:
        """The teacher's outputs, for a term that declares to need them."""
        if self.teacher_logits is None:
            msg = "a term that uses teacher logits must declare needs = ('teacher_logits',)"
            raise TypeError(msg)
        return self.teacher_logits

    def temperature_or(self, default: float) -> float | Tensor:
        """The curriculum's temperature if there is one, else the term's own."""
        return default if self.temperature is None else self.temperature


class LossTerm(FrozenModel):
    """One entry of `losses:`. The training loss is the weighted sum of the terms.

    A term whose loss is a mean over samples defines `per_sample`; one that needs the batch as a whole defines `forward`.

    Attributes:
        weight: Factor of this term.
        warmup: Fraction of all steps over which the factor rises linearly from 0.
        needs: What must be computed for it besides the student's outputs.
        feature_kind: Which features a term that needs `features` compares.
        student_only: Whether these features are the student's own, with no teacher's beside them.
        uses_labels: Whether it uses the labels.
        requires: What the task must have for it.
    """

    weight: float = Field(default=1.0, ge=0.0)
    warmup: float = Field(default=0.0, ge=0.0, le=1.0)
    needs: ClassVar[tuple[Need, ...]] = ()
    feature_kind: ClassVar[FeatureKind | None] = None
    student_only: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False
    requires: ClassVar[tuple[Capability, ...]] = ()

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """What the task must have for the layers that are matched automatically."""
        automatic = self.feature_kind == "vector" and getattr(self, "layers", "auto") == "auto"
        return {"layers": ("sample_vector",)} if automatic else {}

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """Loss of each row, (R,), before weighting."""
        msg = f"{type(self).__name__} must define `per_sample` or `forward`"
        raise NotImplementedError(msg)

    def forward(self, inputs: LossInputs) -> Tensor:
        """Scalar loss, averaged over the batch, before weighting."""
        losses = self.per_sample(inputs)
        return losses.mean() if inputs.sample_weights is None else (inputs.sample_weights * losses).mean()

    @property
    def needs_unmixed(self) -> bool:
        """Whether it needs images that are neither mixed nor erased."""
        return False

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Check the matched layers before the first step and build the term's own modules.

        Args:
            matched: The layers that were matched.
            samples: Size of the training split.

        Returns:
            Modules to train with the student and to drop afterwards, such as projectors between widths; None for none.

        Raises:
            ModelError: The shapes do not go together.
        """
        return None

    def weight_at(self, progress: float) -> float:
        """The factor at a fraction of all steps in [0, 1)."""
        return self.weight * (1.0 if progress >= self.warmup else progress / self.warmup)


def online_terms(terms: Sequence[LossTerm]) -> tuple[LossTerm, ...]:
    """Terms for which the teacher must run in every step."""
    return tuple(term for term in terms if {"features", "input_gradient"} & set(term.needs))
