"""The `search:` block of a recipe: which values are searched, what decides, and by which engine. Imports no optimizer."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext

Engine = Literal["tpe", "nsga2", "nsga3", "gp", "random"]
DeviceQuantity = Literal["latency_ms", "memory_mb", "power_w", "energy_j"]
Objective = str | Annotated[dict[DeviceQuantity, str], Field(min_length=1, max_length=1)]
"""A name, or a quantity on a device: `accuracy`, `{latency_ms: host}`."""

StopRule = Literal["median", "asha"]

SIZES = ("size_mb", "params", "macs")
"""Objectives without a device that are no metric of the task; smaller is better."""
Number = int | float


class SearchSpace(FrozenModel):
    """The values of one parameter: a range from `low` to `high`, a `choice` of values, or `optional` for a stage.

    Attributes:
        low: Smallest value of a range; whole numbers if both ends are whole and the parameter takes them.
        high: Largest value of a range.
        log: Whether values are drawn evenly by their logarithm; `low` must be above 0.
        step: Distance of the values of a range.
        choice: The values; for an entry of a list, such as a stage, whole entries.
        optional: Whether the stage may be left out.
    """

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Number | None = Field(default=None, gt=0)
    choice: Annotated[tuple[Any, ...], Field(min_length=2)] | None = None
    optional: Literal[True] | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        is_range = self.low is not None or self.high is not None
        if [is_range, self.choice is not None, bool(self.optional)].count(True) != 1:
            msg = gettext("a space is one of {low: …, high: …}, {choice: [a, b]} and, for a stage, {optional: true}")
            raise ValueError(msg)
        if not is_range and (self.log or self.step is not None):
            msg = gettext("log and step are for a range from low to high")
            raise ValueError(msg)
        if is_range:
            self._check_range()
        _refuse_twice(self.choice or ())
        return self

    def _check_range(self) -> None:
        if self.low is None or self.high is None or not self.low < self.high:
            msg = gettext("a range needs low below high, got low {low} and high {high}", low=self.low, high=self.high)
            raise ValueError(msg)
        if self.log and self.low <= 0:
            msg = gettext("a range by logarithm needs low above 0, got {low}", low=self.low)
            raise ValueError(msg)
        if self.log and self.step is not None:
            msg = gettext("a range has log or step, not both")
            raise ValueError(msg)
        if self.step is not None and self.step > self.high - self.low:
            msg = gettext(
                "a step of {step} goes beyond the range from {low} to {high}, so that it has one value; give a smaller step",
                step=self.step, low=self.low, high=self.high,
            )  # fmt: skip
            raise ValueError(msg)

    @property
    def is_whole(self) -> bool:
        """Whether all given numbers of a range are whole."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step) if number is not None)

    @property
    def ends(self) -> tuple[object, ...]:
        """The values that a check tries: both ends of a range, or every choice; for a stage, with and without it."""
        if self.choice is not None:
            return self.choice
        return (True, False) if self.optional else (self.low, self.high)


class LatencySettings(FrozenModel):
    """How the latency of trials is measured; the defaults measure each trial once.

    Attributes:
        screen_after: After so many measured trials, the cost model estimates a trial first, and only trials that may reach the
            front are measured; the others keep the estimate. None measures all. It needs an objective `latency_ms`, and a
            profile stage at the end that measures this file.
        margin: How far below the lowest ratio of measurement to estimate so far the latency of a trial is taken, as a fraction,
            before it is judged to be behind the front.
        repeats: Largest number of sessions in which the trials of the front whose intervals of latency overlap are timed again,
            in turns, after the last trial. Their latency is then that of the last session.
    """

    screen_after: int | None = Field(default=None, ge=3)
    margin: float = Field(default=0.1, ge=0.0, lt=1.0)
    repeats: int = Field(default=0, ge=0, le=20)


class SearchSettings(FrozenModel):
    """A search for values of a recipe. `compress search` runs it; `compress pipeline` runs the recipe as it stands.

    Metrics are those on the validation split, and so are the limits of the budget on metrics: test samples take no part in the
    choice. A trial that breaks a limit of the budget is not chosen.

    Attributes:
        space: Space of each parameter by its key path, as for `--set`, such as `stages.prune.target.macs`.
        objectives: What is optimized, the most important first: a metric of the task, `size_mb`, `params`, `macs`, or a
            quantity of a profiled device such as `{latency_ms: host}`.
        engine: How values are chosen: by `tpe` (tree-structured Parzen estimator), `nsga2` or `nsga3` (evolution), `gp`
            (Gaussian process) or `random`.
        trials: Number of trials of the whole study.
        stop: Rule by which a trial stops after a stage, by the first metric among the objectives: `median` (worse than the
            median of the others) or `asha` (not among the best of `reduction`); None to let all trials end.
        fidelity: Growing values of a parameter that costs time, such as `{stages.prune.recover.epochs: [1, 3, 9]}`. Trials
            begin with the first one; the best go on with the next, as trials of their own.
        reduction: Of so many trials one goes on.
        latency: How latency is measured: by the cost model first, and again where intervals overlap.
    """

    space: Annotated[dict[str, SearchSpace], Field(min_length=1)]
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)]
    engine: Engine = "tpe"
    trials: int = Field(default=20, ge=1)
    stop: StopRule | None = None
    fidelity: dict[str, Annotated[tuple[Any, ...], Field(min_length=2)]] | None = None
    reduction: int = Field(default=3, ge=2)
    latency: LatencySettings = LatencySettings()

    @model_validator(mode="after")
    def _check_fidelity(self) -> Self:
        lengths = {len(values) for values in (self.fidelity or {}).values()}
        if len(lengths) > 1:
            msg = gettext("the parameters of fidelity need equally many values, got {lengths}", lengths=sorted(lengths))
            raise ValueError(msg)
        for values in (self.fidelity or {}).values():
            _refuse_twice(values)
        if both := sorted(set(self.fidelity or {}) & set(self.space)):
            msg = gettext("{key} is in space and in fidelity; keep one", key=both[0])
            raise ValueError(msg)
        return self

    @property
    def rungs(self) -> int:
        """Number of amounts of training; 1 without fidelity."""
        return len(next(iter((self.fidelity or {"": ("",)}).values())))

    def fixed(self, rung: int) -> dict[str, object]:
        """The values of fidelity of a rung, counted from 0, by key path."""
        return {key: values[rung] for key, values in (self.fidelity or {}).items()}

    def smoke(self) -> Self:
        """The same search with two trials."""
        return self.model_copy(update={"trials": min(self.trials, 2)})


def _refuse_twice(values: tuple[Any, ...]) -> None:
    """Refuse a value that stands twice: its trials would be run twice."""
    written = [repr(value) for value in values]
    if twice := next((value for value in written if written.count(value) > 1), None):
        msg = gettext("{value} is given twice; keep one", value=twice)
        raise ValueError(msg)


def objective_parts(objective: Objective) -> tuple[str, str]:
    """Name of an objective, and its device; empty without one."""
    if isinstance(objective, str):
        return objective, ""
    ((name, device),) = objective.items()
    return name, device


def objective_name(objective: Objective) -> str:
    """An objective as one word: `accuracy`, `latency_ms.host`."""
    return ".".join(part for part in objective_parts(objective) if part)
