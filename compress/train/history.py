"""Record of a training: curves, number of epochs, best epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter

from compress.core.entries import Row, State
from compress.core.fact import Fact, Facts
from compress.core.record import Curve

_FACTS = TypeAdapter(Facts)


@dataclass(frozen=True)
class History:
    """A finished training.

    Attributes:
        curves: `loss` (training), `loss_validation` and `METRIC_validation` (METRIC is the metric of the task), over epochs.
        epochs: Number of finished epochs.
        best_epoch: Epoch with the best validation metric, counted from 1, see `TrainingProgress.add`; 0 without training.
        best_metric: Validation metric of the best epoch.
        notes: Facts for the record.
        matched: Matched layers of feature losses, a row for each pair.
        teacher_s: Seconds in which teachers ran in the training steps; 0 with cached logits. Ignored by `==`.
    """

    curves: dict[str, Curve] = field(default_factory=dict)
    epochs: int = 0
    best_epoch: int = 0
    best_metric: float = 0.0
    notes: Facts = ()
    matched: tuple[Row, ...] = ()
    teacher_s: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, object]:
        """Plain JSON."""
        curves = {name: curve.model_dump(mode="json") for name, curve in self.curves.items()}
        return {**asdict(self), "curves": curves, "notes": _FACTS.dump_python(self.notes, mode="json")}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> History:
        """Read the JSON of `to_json`.

        Raises:
            ValueError: It is not of that form.
        """
        return _HISTORY.validate_python(dict(value))


@dataclass
class TrainingProgress:
    """State of a training in progress from which its history is built; part of a checkpoint.

    Attributes:
        epoch: Number of finished epochs.
        best_epoch: See `History`.
        best_metric: Best validation metric so far; undefined before the first epoch.
        losses: Mean training loss of each epoch.
        losses_validation: Loss of the task on the validation split after each epoch.
        metrics: Metric of the task on the validation split after each epoch.
        notes: See `History`.
        teacher_s: See `History`.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_metric: float = -1.0
    losses: list[float] = field(default_factory=list)
    losses_validation: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    notes: list[Fact] = field(default_factory=list)
    teacher_s: float = 0.0

    def state_dict(self) -> State:
        """Plain containers, for a checkpoint."""
        return {**asdict(self), "notes": _FACTS.dump_python(tuple(self.notes), mode="json")}

    @classmethod
    def from_state_dict(cls, state: State) -> TrainingProgress:
        """Continue from a state of `state_dict`.

        Raises:
            ValueError: It is not of that form.
        """
        return _PROGRESS.validate_python(dict(state))

    def add(self, loss: float, loss_validation: float, metric: float, *, higher_is_better: bool = True) -> bool:
        """Add an epoch; True when its metric is the best so far.

        While no epoch has changed the metric, the one with the lowest validation loss is the best: an F1 stays 0 while a
        network learns to answer nothing, and the first of these epochs knows least.
        """
        is_unchanged = bool(self.metrics) and set(self.metrics) == {metric}
        has_less_loss = is_unchanged and loss_validation < self.losses_validation[self.best_epoch - 1]
        self.epoch += 1
        self.losses.append(loss)
        self.losses_validation.append(loss_validation)
        self.metrics.append(metric)
        is_better = metric > self.best_metric if higher_is_better else metric < self.best_metric
        is_best = is_better or has_less_loss or (self.best_epoch == 0 and not math.isnan(metric))
        if is_best:
            self.best_epoch, self.best_metric = self.epoch, metric
        return is_best

    def history(self, metric: str, matched: tuple[Row, ...] = ()) -> History:
        """The history of the finished training; `metric` is the name of the metric of the task."""
        series = {"loss": self.losses, "loss_validation": self.losses_validation, f"{metric}_validation": self.metrics}
        epochs = tuple(float(epoch) for epoch in range(1, self.epoch + 1))
        curves = {name: Curve(x_label="epoch", y_label=name, x=epochs, y=tuple(y)) for name, y in series.items()}
        return History(curves, self.epoch, self.best_epoch, self.best_metric, tuple(self.notes), matched, self.teacher_s)


_HISTORY = TypeAdapter(History)
_PROGRESS = TypeAdapter(TrainingProgress)
