"""Training settings, shared by every stage that trains. Light: read and checked without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field

from compress.core.frozen_model import FrozenModel
from compress.core.registry import lookup
from compress.core.registry_field import RegistryField
from compress.train.loss_term import LossTerm

if TYPE_CHECKING:
    from compress.tasks.base import Capability


def _weighted(losses: tuple[LossTerm, ...]) -> tuple[LossTerm, ...]:
    """Refuse a list that adds up to nothing."""
    if not any(term.weight > 0 for term in losses):
        msg = "losses needs at least one entry with a weight over 0, such as `- task: {weight: 1.0}`"
        raise ValueError(msg)
    return losses


Losses = Annotated[tuple[Annotated[LossTerm, RegistryField("loss", LossTerm)], ...], AfterValidator(_weighted)]


class Training(FrozenModel):
    """How to train. Stages that train have these fields beside their own.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Samples a step over all processes together.
        optimizer: `adamw` or `sgd` (momentum 0.9, Nesterov).
        lr: Peak learning rate.
        weight_decay: Decay of the weights, decoupled in adamw; biases and normalisation are spared.
        schedule: `cosine`, `onecycle` or `constant`.
        warmup: Fraction of all steps over which the rate rises linearly (cosine, constant) or to the peak (one-cycle).
        accumulate: Batches whose gradients are added up before a step.
        clip: Largest gradient norm; None does not clip.
        ema: Decay of an exponential moving average of the weights, which is then what is evaluated and kept; None for none.
            In the first steps n the decay is lower, (1 + n) / (10 + n), so that short trainings are averaged as well.
        label_smoothing: In the task loss.
        precision: `auto` (bfloat16 where the accelerator computes it fast, else float32), `no`, `bf16`, `fp16`.
        patience: Stop after this many epochs without a better validation metric; None never stops early.
        keep: `best` (by validation) or `last` weights.
        tracker: `tensorboard` (extra) or None.
    """

    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=64, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=0.05, ge=0.0)
    schedule: Literal["cosine", "onecycle", "constant"] = "onecycle"
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0)
    accumulate: int = Field(default=1, ge=1)
    clip: float | None = Field(default=None, gt=0.0)
    ema: float | None = Field(default=None, gt=0.0, lt=1.0)
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    patience: int | None = Field(default=None, ge=1)
    keep: Literal["best", "last"] = "best"
    tracker: Literal["tensorboard"] | None = None

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """What the task must have for each field that is in use."""
        return {"label_smoothing": ("class_rows",)} if self.label_smoothing else {}

    def smoke(self) -> Self:
        """The same training at toy size."""
        return self.model_copy(update={"epochs": min(self.epochs, 1), "batch_size": min(self.batch_size, 32)})


def default_losses() -> tuple[LossTerm, ...]:
    """Response distillation and the task's own loss, as in Hinton et al. 2015 (arXiv:1503.02531)."""
    return (
        lookup("loss", "response").load()(temperature=4.0, weight=0.7),
        lookup("loss", "task").load()(weight=0.3),
    )


class LogitCache(FrozenModel):
    """How teacher answers are kept on disk.

    Attributes:
        k: Only this many likeliest classes of each answer, in float16, and the mass of the others: 44 bytes for 10. The others
            are read back as equally likely. None keeps all classes in float32.
    """

    k: int | None = Field(default=None, ge=1)

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """The likeliest classes are those of a softmax."""
        return {} if self.k is None else {"k": ("class_rows",)}


class FinetuneSettings(Training):
    """How a compressed network heals.

    Attributes:
        teacher: `parent`, the dense network that the stage was given; `teacher`, the recipe's; `none`, hard labels only.
        losses: Weighted terms; with `none` they are replaced by the task's loss.
        cache: How the teacher's answers are kept.
    """

    teacher: Literal["parent", "teacher", "none"] = "parent"
    epochs: int = Field(default=2, ge=0)
    losses: Losses = Field(default_factory=default_losses)
    cache: LogitCache = LogitCache()

    @property
    def unused(self) -> tuple[str, ...]:
        """Fields without effect."""
        return ("losses", "cache") if self.teacher == "none" or self.epochs == 0 else ()
