"""What a training leaves to tell: curves, how long it ran, its best epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from compress.core.record import Curve


@dataclass(frozen=True)
class History:
    """A finished training.

    Attributes:
        curves: `loss` (training), `loss_validation` and `accuracy_validation` (named after the task's metric), over epochs.
        epochs: Epochs run.
        best_epoch: The one with the best validation metric, counted from 1; 0 when nothing was trained.
        best_metric: That metric.
        notes: Sentences a reviewer should read.
        matched: Layers that losses compared, one row a pair.
        teacher_s: Seconds that teachers ran inside the steps; 0 where their answers were kept. Not part of equality.
    """

    curves: dict[str, Curve] = field(default_factory=dict)
    epochs: int = 0
    best_epoch: int = 0
    best_metric: float = 0.0
    notes: tuple[str, ...] = ()
    matched: tuple[dict[str, Any], ...] = ()
    teacher_s: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        plain = {name: curve.model_dump(mode="json") for name, curve in self.curves.items()}
        return {**asdict(self), "curves": plain, "notes": list(self.notes), "matched": list(self.matched)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read back what `to_json` gave."""
        curves = {name: Curve.model_validate(curve) for name, curve in value["curves"].items()}
        return cls(**{**value, "curves": curves, "notes": tuple(value["notes"]), "matched": tuple(value["matched"])})


@dataclass
class TrainingProgress:
    """A training under way: all of it stands in a checkpoint.

    Attributes:
        epoch: Epochs finished.
        best_epoch: See `History`.
        best_metric: Best validation metric so far; below 0 before the first epoch.
        losses: Mean training loss of each epoch.
        losses_validation: The task's loss on validation after each epoch.
        metrics: The task's metric on validation after each epoch.
        notes: See `History`.
        teacher_s: See `History`.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_metric: float = -1.0
    losses: list[float] = field(default_factory=list)
    losses_validation: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    teacher_s: float = 0.0

    def add(self, loss: float, loss_validation: float, metric: float) -> bool:
        """Count one epoch; True when it is the best so far."""
        self.epoch += 1
        self.losses.append(loss)
        self.losses_validation.append(loss_validation)
        self.metrics.append(metric)
        better = metric > self.best_metric
        if better:
            self.best_epoch, self.best_metric = self.epoch, metric
        return better

    def history(self, metric: str, matched: tuple[dict[str, Any], ...] = ()) -> History:
        """The finished training, `metric` being the name of the task's metric."""
        series = {"loss": self.losses, "loss_validation": self.losses_validation, f"{metric}_validation": self.metrics}
        epochs = tuple(float(epoch) for epoch in range(1, self.epoch + 1))
        curves = {name: Curve(x_label="epoch", y_label=name, x=epochs, y=tuple(y)) for name, y in series.items()}
        return History(curves, self.epoch, self.best_epoch, self.best_metric, tuple(self.notes), matched, self.teacher_s)
