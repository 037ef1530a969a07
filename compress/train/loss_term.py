"""Base class of the loss terms, their inputs, and the matched layers that they compare. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.data.audio.settings import AUDIO
from compress.data.batch import TARGET
from compress.data.text.settings import DECODER_IDS
from compress.train.frame_masks import mask_of_frames

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.data.batch import Batch, Tensors
    from compress.tasks.base import Task
    from compress.tasks.capability import Capability

Need = Literal["teacher_logits", "features", "input_gradient"]
"""`teacher_logits` can be read from the cache; for `features` and `input_gradient` the teacher runs in every step."""

FeatureKind = Literal["maps", "attention", "vector", "embedding", "hidden", "scores", "relations"]
"""Outputs of layers, attention maps, the input of the classifier head, the output of the embedding layer; outputs of the
embedding layer and of each block, attention before mask and softmax, query, key and value."""

ATTENTION_MASK = "attention_mask"
"""Input that is 0 for padding tokens, (N, L)."""

NETWORK_OUTPUT = "output"
"""Name for the output of the network in place of a layer, unless the network has a layer of this name."""


POLICY, SAMPLED = "policy_log_prob", "sampled_log_prob"
"""Targets of texts that the student drew, float32 (N, L): log-probability of each token by the student, and by the distribution
that it was drawn from, at that time."""
REWARD = "reward"
"""Target of texts that the student drew, float32 (N, L): reward of an environment for each token."""


class LayerMatch(FrozenModel):
    """A layer of the student and the layer of the teacher that it learns from.

    Attributes:
        student: Name of the student's layer, or its index among the candidates of the loss, from 0; -1 is the last.
        teacher: Name or index of the teacher's layer.
    """

    student: str | int
    teacher: str | int


NamedLayers = Annotated[tuple[LayerMatch | str | int, ...], Field(min_length=1)]
"""A list of matches; a single name or index selects the same layer in both networks."""

LayerMap = Literal["uniform", "first", "last", "learned", "searched", "all"]
"""A rule that gives each layer m = 1 … M of the student one of the teacher's N layers, see `layer_maps`."""

LayerSelection = Literal["auto"] | LayerMap | NamedLayers
"""`auto`, a rule, or a list of matches."""

PlainSelection = Literal["auto"] | NamedLayers
"""`auto` or a list of matches, for a loss that does not compare layers of two networks."""


@dataclass(frozen=True)
class MatchedLayers:
    """A layer of the student and the layer of a teacher that it is matched with.

    Attributes:
        student: Name of the student's layer.
        student_shape: Shape of its output for one sample.
        teacher: Name of the teacher's layer.
        teacher_shape: Shape of its output for one sample.
        teacher_index: Index of the teacher, from 0.
    """

    student: str
    student_shape: tuple[int, ...]
    teacher: str
    teacher_shape: tuple[int, ...]
    teacher_index: int = 0

    def __str__(self) -> str:
        student_shape, teacher_shape = ("×".join(map(str, shape)) for shape in (self.student_shape, self.teacher_shape))
        return gettext(
            "{student} ({student_shape}) from {teacher} ({teacher_shape})",
            student=self.student,
            student_shape=student_shape,
            teacher=self.teacher,
            teacher_shape=teacher_shape,
        )


@dataclass(frozen=True)
class MatchedFeatures:
    """Features of two matched layers on one batch.

    Attributes:
        student: Features of the student, with gradient.
        teacher: Features of the teacher, without gradient.
        teacher_index: Index of the teacher, from 0.
        source: The layer's output before padding was set to 0, of which the outputs of the student follow.
    """

    student: Tensor
    teacher: Tensor
    teacher_index: int = 0
    source: Tensor | None = None


@dataclass(frozen=True)
class LossInputs:
    """Inputs of the loss terms for one batch.

    Attributes:
        batch: The batch, on the training device; its inputs require gradients if a term needs `input_gradient`.
        student_logits: Distillable rows of the student, (R, K), with gradient; for a classifier its logits, R = N.
        teacher_logits: Rows of the teacher, (R, K), float32, without gradient; None unless a term needs them.
        task: Task, for its loss.
        label_smoothing: Label smoothing of the loss of the task.
        features: Matched features of a term that needs `features`.
        teacher_gradient: ∂ log p_c / ∂x for the class c that the teacher predicts, with the shape of the inputs; None unless a
            term needs it.
        modules: Modules of the term that are trained with the student, or None.
        temperature: Temperature in place of that of the term, (R,), or None.
        sample_weights: Weight of each row, (R,), with mean 1; None for equal weights.
        outputs: Named outputs of the student; empty if the only output is the logits.
        row_targets: Class of each row, int64 (R,); None if each sample has one row and one class.
        shared_classes: Classes of student and teacher that are the same, see `Teacher`; None where all are.
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
    shared_classes: tuple[Tensor, Tensor] | None = None

    @property
    def token_mask(self) -> Tensor | None:
        """Which tokens are no padding, bool (N, L); None for inputs without `attention_mask`."""
        mask = self.batch.inputs.get(ATTENTION_MASK)
        return None if mask is None else mask.bool()

    def mask_of(self, tokens: Tensor) -> Tensor | None:
        """Which tokens of features (N, L, D) are no padding, bool (N, L).

        Networks of audio have frames, to which the mask of the samples is reduced. Encoder-decoders have tokens of prompts and
        of responses; of both with one length those that are no padding in either.

        Args:
            tokens: Features of one layer.
        """
        if AUDIO in self.batch.inputs and (mask := self.token_mask) is not None:
            return mask_of_frames(mask, tokens.shape[1]) if tokens.ndim == 3 else None
        if DECODER_IDS not in self.batch.inputs or TARGET not in self.batch.targets:
            return self.token_mask
        import torch

        both = (self.token_mask, self.batch.targets[TARGET] >= 0)
        fitting = [mask for mask in both if mask is not None and mask.shape == tokens.shape[:2]]
        return torch.stack(fitting).all(dim=0) if fitting else None

    @property
    def targets(self) -> Tensor:
        """Class of each row, int64 (R,); negative for a row without a class."""
        return self.batch.target if self.row_targets is None else self.row_targets

    @property
    def is_sampled(self) -> bool:
        """Whether the student drew the texts of the batch."""
        return POLICY in self.batch.targets

    def row_values(self, name: str) -> Tensor:
        """Numbers of the targets of this name at the places of the rows, (R,)."""
        return self.batch.targets[name][self.batch.targets[TARGET] >= 0]

    @property
    def row_samples(self) -> Tensor:
        """Number of the sample of each row, of targets for each token, int64 (R,)."""
        return (self.batch.targets[TARGET] >= 0).nonzero(as_tuple=True)[0]

    def task_loss(self) -> Tensor:
        """The loss of the task on hard labels, a scalar."""
        outputs = self.outputs or dict.fromkeys(self.task.output_names, self.student_logits)
        return self.task.loss(outputs, self.batch.targets, label_smoothing=self.label_smoothing)

    def require_teacher_logits(self) -> Tensor:
        """Logits of the teacher, for a term that declares that it needs them.

        Raises:
            TypeError: The term does not declare it.
        """
        if self.teacher_logits is None:
            msg = gettext("a term that uses teacher logits must declare needs = ('teacher_logits',)")
            raise TypeError(msg)
        return self.teacher_logits

    def temperature_or(self, default: float) -> float | Tensor:
        """The temperature of the curriculum, or `default` without one."""
        return default if self.temperature is None else self.temperature


class LossTerm(FrozenModel):
    """An entry of `losses:`. The training loss is the weighted sum of the terms.

    A term whose loss is a mean over samples defines `per_sample`; a term that needs the whole batch defines `forward`.

    Attributes:
        weight: Factor of this term.
        warmup: Fraction of all steps over which the factor rises linearly from 0.
        needs: Values that it needs besides the outputs of the student.
        feature_kind: Kind of the features that it compares; None without features.
        student_only: Whether it compares features of the student only, without a teacher.
        uses_labels: Whether it uses the labels.
        requires: Capabilities of the task that it needs.
        merges_tokens: Whether it compares groups of tokens of the same text, so that the teacher may have another tokenizer for
            responses.
        aligns_tokens: Whether it compares the networks token by token, which needs one tokenizer for both.
        any_width: Whether the rows of the networks may have different widths, or the term checks them itself.
        needs_samples: Whether it needs texts that the student draws, `generation: {student: …}` of the stage.
    """

    weight: float = Field(default=1.0, ge=0.0)
    warmup: float = Field(default=0.0, ge=0.0, le=1.0)
    needs: ClassVar[tuple[Need, ...]] = ()
    feature_kind: ClassVar[FeatureKind | None] = None
    student_only: ClassVar[bool] = False
    uses_labels: ClassVar[bool] = False
    requires: ClassVar[tuple[Capability, ...]] = ()
    aligns_tokens: ClassVar[bool] = False
    merges_tokens: ClassVar[bool] = False
    needs_samples: ClassVar[bool] = False
    any_width: ClassVar[bool] = False

    @property
    def takes_embedding(self) -> bool:
        """Whether rules for `layers` match the embedding layers as well, of losses that compare hidden states or embeddings."""
        return True

    @property
    def trains_layers_only(self) -> bool:
        """Whether the outputs of the network have no part in it, only layers inside."""
        layers = getattr(self, "layers", "auto")
        return self.feature_kind is not None and not self.student_only and NETWORK_OUTPUT not in layers

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
        """Whether it needs images that are not mixed or erased."""
        return False

    @property
    def uses_reward(self) -> bool:
        """Whether it uses rewards of texts that the student writes."""
        return False

    def applies_to(self, *, sampled: bool) -> bool:
        """Whether it is a part of the loss of a batch: labels are not, where the student drew the texts.

        Args:
            sampled: Whether the student drew the texts of the batch.
        """
        return not (sampled and self.uses_labels)

    def prepare(self, matched: Sequence[MatchedLayers], samples: int) -> nn.Module | None:  # noqa: ARG002
        """Check the matched layers before the first step, and build the modules of the term.

        Args:
            matched: The matched layers.
            samples: Size of the training split.

        Returns:
            Modules that are only used during training, such as projectors between widths; or None.

        Raises:
            ModelError: The shapes are not compatible.
        """
        return None

    def weight_at(self, progress: float) -> float:
        """The factor at a fraction of all steps in [0, 1)."""
        return self.weight * (1.0 if progress >= self.warmup else progress / self.warmup)


def online_terms(terms: Sequence[LossTerm]) -> tuple[LossTerm, ...]:
    """Terms for which the teacher must run in every step."""
    return tuple(term for term in terms if {"features", "input_gradient"} & set(term.needs))
