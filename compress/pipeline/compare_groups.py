"""Compare the deciding metric of a reference and a network in each group of test samples, for the record of a stage.

A student inherits and can enlarge a difference between groups, such as speakers, cameras or dialects, which the mean over all
samples hides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compress.core.entries import Row
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.metric_quantity import estimate, loss_of

GROUPS = "groups"
"""Name of the table."""
MOST = 50
"""Largest number of groups in a record."""


def compare_groups(
    metric: TaskMetric, groups: Sequence[str], before: Scores | None, after: Scores, against: str
) -> tuple[tuple[Row, ...], tuple[Fact, ...]]:
    """Rows of the groups, the largest loss first, and warnings.

    A row has `group`, `samples`, and as quantities `before`, `after` and `change`: `after` less `before`, with the paired 95 %
    interval on the samples of the group. Samples whose group is empty are left out.

    Args:
        metric: The deciding metric.
        groups: Group of each of N test samples; empty for data without groups.
        before: Statistics of the reference, of N samples; None without a reference.
        after: Statistics of the network, of N samples.
        against: Name of the reference.
    """
    if not len(groups):
        return (), ()
    if len(groups) != len(after):
        return (), (Fact.of("pipeline.groups_do_not_fit", "", groups=len(groups), samples=len(after)),)
    reference = before if before is not None and len(before) == len(after) else None
    values, numbers = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(numbers)
    named = [index for index in np.argsort(-counts, kind="stable") if values[index]]
    rows = list(_rows(metric, [(str(values[index]), numbers == index) for index in named[:MOST]], reference, after, against))
    warnings = (Fact.of("pipeline.groups_left_out", "", shown=MOST, total=len(named)),) if len(named) > MOST else ()
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0])), warnings


def _rows(
    metric: TaskMetric, members: Sequence[tuple[str, np.ndarray]], before: Scores | None, after: Scores, against: str
) -> Iterator[tuple[float, Row]]:
    """Gain of the metric and row of each group."""
    for group, rows in members:
        where = gettext("test samples of group {group}", group=group)
        row: dict[str, object] = {"group": group, "samples": int(rows.sum())}
        gain = 0.0
        if before is not None:
            row["before"] = estimate(metric, before[rows], where).model_dump(mode="json")
        row["after"] = estimate(metric, after[rows], where).model_dump(mode="json")
        if before is not None:
            loss = loss_of(metric, before[rows], after[rows], against)
            change = _change(loss) if metric.info.higher_is_better else loss
            row["change"] = change.model_dump(mode="json")
            gain = -(loss.value or 0.0)
        yield gain, row


def _change(loss: Quantity) -> Quantity:
    """The negative of a loss."""
    value, low, high = (None if end is None else -end for end in (loss.value, loss.high, loss.low))
    return loss.model_copy(update={"value": value, "low": low, "high": high})
