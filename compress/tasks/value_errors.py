"""Errors of each value of a regression, against the best answer that is the same for all samples.

An error over all values hides those of a small scale: one of 0.01 that is wrong does not change an RMSE of 10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.core.bootstrap import LEAST_SAMPLES, TAIL
from compress.core.entries import Row
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.core.verdict import Check
from compress.core.warned_check import warning_of
from compress.tasks.further_results import FurtherResults
from compress.tasks.metric import Scores
from compress.tasks.metric_quantity import drawn_rows

TRIED = 360
"""Answers that are tried for the best constant of values with a period."""
Floats = NDArray[np.float64]
Interval = tuple[Floats, Floats]


class ValueErrors(NamedTuple):
    """Absolute errors of N samples and V values.

    Attributes:
        network: Those of the network, (N, V).
        constant: Those of the best constant of each value, (N, V).
    """

    network: Floats
    constant: Floats

    @classmethod
    def of(cls, rows: Scores, period: float | None, *, absolute: bool = False) -> ValueErrors:
        """From the statistics of `Determination`, (N, 3V); for the other arguments see `constant_errors`."""
        squared, targets, _ = np.split(rows.astype(np.float64), 3, axis=1)
        return cls(np.sqrt(squared), constant_errors(targets, period, absolute=absolute))


def constant_errors(targets: Floats, period: float | None, *, absolute: bool = False) -> Floats:
    """Absolute errors of one answer for all samples, the best for these targets: the mean of each value, or its median.

    Of values with a period it is the best of `TRIED` evenly spaced answers.

    Args:
        targets: (N, V).
        period: Of the values; None for none.
        absolute: The best for absolute errors, not for squared ones.

    Returns:
        (N, V).
    """
    if period is None:
        centre = np.median(targets, axis=0) if absolute else targets.mean(axis=0)
        return np.abs(targets - centre)
    best, least = np.zeros_like(targets), np.full(targets.shape[1], np.inf)
    for answer in np.arange(TRIED) * (period / TRIED):
        error = np.abs((targets - answer + period / 2) % period - period / 2)
        total = (error if absolute else error**2).sum(axis=0)
        better = total < least
        best[:, better], least[better] = error[:, better], total[better]
    return best


def value_results(rows: Scores, names: Sequence[str], period: float | None, where: str, *, absolute: bool) -> FurtherResults:
    """RMSE, MAE and R² of each value, and a warning for each that is not significantly better than a constant.

    A value is better where the 2.5 % quantile of Σ c − Σ e over draws of the samples is above 0, with errors e of the
    network and c of the constant, both squared, or both absolute where the loss is the absolute error.

    Args:
        rows: Statistics of `Determination`, (N, 3V).
        names: V names; results of one value alone are those of the metrics.
        period: Of the values; None for none.
        where: What was measured on what.
        absolute: Whether the loss is the absolute error.
    """
    if len(names) < 2:
        return FurtherResults()
    errors = ValueErrors.of(rows, period, absolute=absolute)
    table, warnings = [], []
    for name, value in zip(names, _values(errors, where, absolute=absolute), strict=True):
        label = "mae" if absolute else "rmse"
        quantities = {"rmse": value.rmse, "mae": value.mae, "r2": value.r2}
        row: dict[str, object] = {key: quantity.model_dump(mode="json") for key, quantity in quantities.items()}
        table.append({"value": name, **row, f"{label}_of_constant": value.constant})
        if not value.is_better:
            warnings.append(_warning(name, label, quantities[label], value.constant))
    tables: dict[str, tuple[Row, ...]] = {"values": tuple(table)}
    return FurtherResults(tables=tables, warnings=tuple(warnings))


class _Value(NamedTuple):
    """Results of one value; `constant` is the RMSE or MAE of its best constant."""

    rmse: Quantity
    mae: Quantity
    r2: Quantity
    constant: float
    is_better: bool


def _warning(name: str, label: str, error: Quantity, constant: float) -> Fact:
    words = label.upper()
    check = Check(
        quantity=error, passed=False, name=f"{label}_{name}", label=gettext("{words} of {name}", words=words, name=name)
    )
    return warning_of("tasks.value_at_constant", name, check, metric=words, constant=constant)


def _values(errors: ValueErrors, where: str, *, absolute: bool) -> Iterator[_Value]:
    count = len(errors.network)
    constant = errors.constant if absolute else errors.constant**2
    columns = np.concatenate([errors.network**2, errors.network, constant], axis=1)
    squared, plain, reference = np.split(columns.mean(axis=0), 3)
    drawn = _means_of_draws(columns)
    squares, plains, references = np.split(drawn, 3, axis=1)
    compared = plains if absolute else squares
    with np.errstate(divide="ignore", invalid="ignore"):
        r2s = 1 - squares / references
        r2 = 1 - squared / (errors.constant**2).mean(axis=0)
    for index in range(errors.network.shape[1]):
        rmse = _quantity(float(squared[index] ** 0.5), squares[:, index] ** 0.5, where, count)
        mae = _quantity(float(plain[index]), plains[:, index], where, count)
        determination = _quantity(float(r2[index]), None if absolute else r2s[:, index], where, count)
        level = float(reference[index])
        gains = references[:, index] - compared[:, index]
        is_better = np.isfinite(gains).all() and np.quantile(gains, TAIL) > 0
        yield _Value(rmse, mae, determination, level if absolute else level**0.5, bool(is_better))


def _means_of_draws(columns: Floats) -> Floats:
    """Means of the columns over draws of the rows with replacement, (RESAMPLES, C)."""
    count = len(columns)
    with np.errstate(invalid="ignore"):  # 0 · ∞
        return np.stack([np.bincount(rows, minlength=count) @ columns / count for rows in drawn_rows(count)])


def _quantity(value: float, drawn: Floats | None, where: str, count: int) -> Quantity:
    if not np.isfinite(value):
        reason = gettext("{where}: its targets are all equal, or an output is not finite", where=where)
        return Quantity.missing("1", reason)
    if drawn is None or count < LEAST_SAMPLES or not np.isfinite(drawn).all():
        return Quantity.measured(value, "1", gettext("{where}; without an interval", where=where), runs=count)
    low, high = (float(end) for end in np.quantile(drawn, (TAIL, 1 - TAIL)))
    return Quantity.measured(
        value,
        "1",
        gettext("{where}; 95 % bootstrap interval", where=where),
        interval=(min(value, low), max(value, high)),
        runs=count,
        method="bootstrap",
    )
