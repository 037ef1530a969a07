"""Training settings, shared by every stage that trains. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.core.registry_field import RegistryField
from compress.data.settings import DataSettings
from compress.train.loss_term import LossTerm

if TYPE_CHECKING:
    from compress.tasks.capability import Capability


def _weighted(losses: tuple[LossTerm, ...]) -> tuple[LossTerm, ...]:
    """Refuse a list without a positive weight."""
    if not any(term.weight > 0 for term in losses):
        msg = gettext(
            "losses has {count} entries and none with a weight above 0; add one, such as `- task: {{weight: 1.0}}`",
            count=len(losses),
        )
        raise ValueError(msg)
    return losses


Losses = Annotated[tuple[Annotated[LossTerm, RegistryField("loss", LossTerm)], ...], AfterValidator(_weighted)]


class Lora(FrozenModel):
    """Low-rank adapters: W = W_0 + (α / r) B A with a frozen W_0 (Hu et al. 2021, LoRA, arXiv:2106.09685).

    They are added to the weights at the end of the stage, so that later stages and the exported file have no part of them.

    Attributes:
        rank: r, rows of A.
        alpha: α; None for 2 r.
        targets: Globs of names of layers, or of the last part of a name, such as `[q_proj, v_proj]`. Layers that share a weight
            with another and frozen ones get no adapter.
        dropout: Probability of dropout before A.
        whole: Globs of names of modules that are trained whole, such as a new head.
    """

    rank: int = Field(default=8, ge=1)
    alpha: float | None = Field(default=None, gt=0.0)
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    whole: tuple[str, ...] = ()

    @property
    def factor(self) -> float:
        """α."""
        return self.alpha if self.alpha is not None else 2.0 * self.rank


class Training(FrozenModel):
    """Settings of a training. Stages that train have these fields besides their own.

    Attributes:
        epochs: Number of passes over the training split.
        batch_size: Samples per batch, over all processes.
        optimizer: `adamw` or `sgd` (momentum 0.9, Nesterov).
        lr: Peak learning rate.
        weight_decay: Weight decay, decoupled in adamw; biases and normalisation do not decay.
        schedule: `cosine`, `onecycle` or `constant`.
        warmup: Fraction of all steps over which the rate rises to the peak: linearly (cosine, constant) or by a cosine
            (onecycle).
        accumulate: Number of batches whose gradients are added before an optimizer step.
        clip: Largest gradient norm; None does not clip.
        ema: Decay of an exponential moving average of the weights, which is then evaluated and stored; None for none. At step
            n the decay is at most (1 + n) / (10 + n), so that the average of a short training is useful.
        label_smoothing: Label smoothing in the loss of the task.
        precision: `auto` (bfloat16 if the accelerator computes it natively, else float32), `no`, `bf16`, `fp16`.
        patience: Stop after this many epochs without a better validation metric; None never stops early.
        keep: Result: the `best` weights by validation, or the `last`.
        tracker: `tensorboard` (needs the extra) or None.
        lora: Train low-rank adapters in place of the weights, such as `{rank: 8, targets: [q_proj, v_proj]}` (needs the extra
            `lora`); None trains all weights.
        parts: Train the weights of these modules alone, by globs of their names, such as `[projector]`; the others are frozen
            and compute as in evaluation. None trains all.
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
    lora: Lora | None = None
    parts: tuple[str, ...] | None = Field(default=None, min_length=1)

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Capabilities of the task that each field in use needs."""
        return {"label_smoothing": ("class_rows",)} if self.label_smoothing else {}

    def smoke(self) -> Self:
        """The same training with one epoch and small batches."""
        return self.model_copy(update={"epochs": min(self.epochs, 1), "batch_size": min(self.batch_size, 32)})


class OwnDataTraining(Training):
    """Settings of a training that may read samples of its own.

    Attributes:
        data: Training samples of this training alone; None takes the training samples of the recipe.
    """

    data: DataSettings | None = None

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Labels of other data are not those of the task."""
        return {**super().requirements, **({} if self.data is None else {"data": ("self_supervised",)})}

    def requirement_text(self, field: str) -> str | None:
        """What a requirement is for, in a message; None for the value of the field."""
        if field != "data" or self.data is None:
            return None
        return gettext("training on its own data {source}", source=self.data.source)

    def smoke(self) -> Self:
        """One epoch of small batches of few samples."""
        small = super().smoke()
        return small if self.data is None else small.model_copy(update={"data": self.data.smoke()})


def default_losses() -> tuple[LossTerm, ...]:
    """Response distillation and the loss of the task, as in Hinton et al. 2015 (arXiv:1503.02531)."""
    return (
        lookup("loss", "response").load()(temperature=4.0, weight=0.7),
        lookup("loss", "task").load()(weight=0.3),
    )


class LogitCache(FrozenModel):
    """Storage of the teacher logits.

    Attributes:
        k: Number of most probable classes to store for each sample, in float16, with the total probability of the others, which
            is divided equally among them when it is read: 44 bytes for k = 10. None stores all classes in float32. Logits of
            tokens are stored only with a k: 110 bytes per token for k = 50 and 30,522 classes, see `compact_rows`.
    """

    k: int | None = Field(default=None, ge=1)

    @property
    def requirements(self) -> Mapping[str, tuple[Capability, ...]]:
        """Capabilities of the task that `k` needs: rows with a softmax over classes."""
        return {} if self.k is None else {"k": ("class_rows",)}


class FinetuneSettings(Training):
    """Settings of the fine-tuning of a compressed network.

    Attributes:
        teacher: `parent`, the network before the stage; `teacher`, the teacher of the recipe; `none`, hard labels only.
        losses: Weighted terms; with `none`, the loss of the task replaces them.
        cache: Storage of the teacher logits.
    """

    teacher: Literal["parent", "teacher", "none"] = "parent"
    epochs: int = Field(default=2, ge=0)
    losses: Losses = Field(default_factory=default_losses)
    cache: LogitCache = LogitCache()

    @property
    def unused(self) -> tuple[str, ...]:
        """Fields without effect."""
        return ("losses", "cache") if self.teacher == "none" or self.epochs == 0 else ()
