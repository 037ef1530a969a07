"""The choice among finished trials: the front, the best trial, its runner-up, and the nearest miss of a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from compress.core.record import Quantity
from compress.search.measure_trial import TrialResult

TrialState = Literal["running", "waiting", "finished", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRow:
    """A trial of a study.

    Attributes:
        number: Its number in the storage.
        state: What became of it so far.
        parameters: Values by key path, as the storage has them.
        result: What it measured; None while it is not finished.
        reason: Why it failed or was stopped.
        wall_s: Time between start and end, s.
        host: Name of the machine that ran it.
        steps: Costs after stages by the index of the stage, where a rule stops trials.
        rung: Its amount of training, counted from 0.
    """

    number: int
    state: TrialState
    parameters: Mapping[str, object]
    result: TrialResult | None = None
    reason: str = ""
    wall_s: float = 0.0
    host: str = ""
    steps: Mapping[int, float] = field(default_factory=dict)
    rung: int = 0

    @property
    def is_feasible(self) -> bool:
        """Whether it is finished and within the budget."""
        return self.result is not None and all(distance <= 0 for distance in self.result.distances.values())

    @property
    def distance(self) -> float:
        """Sum of the distances from the limits that it breaks, each as a share of the limit."""
        return sum(max(distance, 0.0) for distance in self.result.distances.values()) if self.result else float("inf")


@dataclass(frozen=True)
class Selection:
    """The choice among trials.

    Attributes:
        front: Trials within the budget that no other one within it is better than in every objective, by number.
        best: The trial that is chosen; None if no trial is within the budget.
        runner_up: The trial that would be chosen without it.
        nearest: The trial nearest to the budget, where none is within it.
    """

    front: tuple[TrialRow, ...]
    best: TrialRow | None
    runner_up: TrialRow | None
    nearest: TrialRow | None


def select(rows: Sequence[TrialRow], directions: Mapping[str, bool]) -> Selection:
    """Select among trials.

    The first objective decides. Trials whose interval of it reaches the best value are equal in it, and the next objective
    decides among them; of the last objective, the value alone.

    Args:
        rows: Trials of a study.
        directions: Objectives in order of importance, each with whether higher is better.
    """
    finished = [row for row in rows if row.state == "finished" and row.result is not None]
    feasible = [row for row in finished if row.is_feasible]
    front = pareto_front(feasible, directions)
    best = _first(front, directions)
    runner_up = _first(pareto_front([row for row in feasible if row is not best], directions), directions)
    nearest = min(finished, key=lambda row: (row.distance, row.number), default=None) if not feasible else None
    return Selection(front, best, runner_up, nearest)


def pareto_front(rows: Sequence[TrialRow], directions: Mapping[str, bool]) -> tuple[TrialRow, ...]:
    """The trials that no other one dominates, by number."""

    def costs(row: TrialRow) -> list[float]:
        return [cost(row, name, higher) for name, higher in directions.items()]

    front: list[TrialRow] = []
    for row in sorted(rows, key=costs):  # a later one cannot dominate an earlier one
        if not any(dominates(other, row, directions) for other in front):
            front.append(row)
    return tuple(sorted(front, key=lambda row: row.number))


def dominates(one: TrialRow, other: TrialRow, directions: Mapping[str, bool]) -> bool:
    """Whether a trial is at least as good as another in every objective, and better in one."""
    pairs = [(cost(one, name, higher), cost(other, name, higher)) for name, higher in directions.items()]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def cost(row: TrialRow, name: str, higher: bool) -> float:
    """An objective of a finished trial, as a number that is better when lower."""
    value = objective(row, name).value
    assert value is not None  # noqa: S101  # a finished trial measured every objective
    return -value if higher else value


def objective(row: TrialRow, name: str) -> Quantity:
    """An objective of a finished trial."""
    assert row.result is not None  # noqa: S101  # only finished trials are asked
    return row.result.objectives[name]


def _first(rows: Sequence[TrialRow], directions: Mapping[str, bool]) -> TrialRow | None:
    """The trial that is best in the first objective, or in the next one among those that are equal in it."""
    candidates = list(rows)
    *leading, (last, last_is_higher) = directions.items()
    for name, higher in leading if candidates else ():
        best = min(cost(row, name, higher) for row in candidates)
        candidates = [row for row in candidates if _reaches(objective(row, name), best, higher)]
    return min(candidates, key=lambda row: (cost(row, last, last_is_higher), row.number), default=None)


def _reaches(quantity: Quantity, best: float, higher: bool) -> bool:
    """Whether the value or the interval of an objective reaches the best value."""
    end = quantity.high if higher else quantity.low
    value = quantity.value if end is None else end
    assert value is not None  # noqa: S101  # see `cost`
    return (-value if higher else value) <= best
