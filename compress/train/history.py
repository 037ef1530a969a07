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
        curves: `loss` (training), `loss_validation` and `METRIC_validation` (METRIC is the task's metric), over epochs.
        epochs: Epochs run.
        best_epoch: The one with the best validation metric, counted from 1; 0 when nothing was trained.
        best_metric: Its validation metric.
        notes: Facts for the record.
        matched: Layers that losses compared, one row for each pair.
        teacher_s: Seconds in which teachers ran inside the steps; 0 where their logits were cached. Not part of equality.
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
    """The part of a training in progress that its history is built from; checkpoints hold it.

    Attributes:
        epoch: Epochs finished.
        best_epoch: See `History`.
        best_metric: Best validation metric so far; without meaning before the first epoch.
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
        """Add one epoch; True when its metric is the best so far."""
        self.epoch += 1
        self.losses.append(loss)
        self.losses_validation.append(loss_validation)
        self.metrics.append(metric)
        improved = metric > self.best_metric if higher_is_better else metric < self.best_metric
        better = improved or (self.best_epoch == 0 and not math.isnan(metric))
        if better:
            self.best_epoch, self.best_metric = self.epoch, metric
        return better

    def history(self, metric: str, matched: tuple[Row, ...] = ()) -> History:
        """The finished training, `metric` being the name of the task's metric."""
        series = {"loss": self.losses, "loss_validation": self.losses_validation, f"{metric}_validation": self.metrics}
        epochs = tuple(float(epoch) for epoch in range(1, self.epoch + 1))
        curves = {name: Curve(x_label="epoch", y_label=name, x=epochs, y=tuple(y)) for name, y in series.items()}
        return History(curves, self.epoch, self.best_epoch, self.best_metric, tuple(self.notes), matched, self.teacher_s)


_HISTORY = TypeAdapter(History)
_PROGRESS = TypeAdapter(TrainingProgress)
