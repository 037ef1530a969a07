"""When a trial stops before its end, and which trials go on with more training.

- `median` (Golovin 2017, Vizier): a trial stops at a step if its value is worse than the median of the others at this step.
- `asha` (Li 2020, arXiv:1810.05934): it goes on only if it is among the best 1/η of all trials that reached the step.
- Promotion (ASHA): of n trials with the i-th amount of training, the best ⌊n/η⌋ are repeated with the next one.

Values are costs: lower is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from compress.config.search_settings import StopRule

FEWEST = 4
"""Fewest other trials at a step before one is stopped there."""


def is_stopped(rule: StopRule, cost: float, step: int, others: Sequence[Mapping[int, float]], *, reduction: int = 3) -> bool:
    """Whether a trial stops at a step.

    Args:
        rule: `median` or `asha`.
        cost: Its value at the step.
        step: The step.
        others: Values of the other trials by step.
        reduction: η of ASHA.
    """
    reached = [steps[step] for steps in others if step in steps]
    if len(reached) < FEWEST:
        return False
    if rule == "median":
        return cost > median(reached)
    best = sorted([*reached, cost])[: max(1, -(-(len(reached) + 1) // reduction))]
    return cost > best[-1]


def to_promote(costs: Mapping[int, float], promoted: set[int], *, reduction: int) -> int | None:
    """The best trial of a rung that has not gone on and may; None without one.

    Args:
        costs: Values of the finished trials of the rung by number.
        promoted: Trials of the rung that have gone on.
        reduction: η: one of so many goes on.
    """
    ranked = sorted(costs, key=lambda number: (costs[number], number))
    best = ranked[: len(ranked) // reduction]
    return next((number for number in best if number not in promoted), None)
