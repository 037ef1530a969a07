"""Limits of a recipe, and the verdict.

- A quantity that was neither measured nor estimated never passes; the verdict gives the reason.
- A measured or estimated quantity is judged on its value. An estimate is named as one, with its band.
- An interval or band that contains the limit is reported, on either side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from compress.core.format_quantity import format_interval, format_value
from compress.core.metric_limits import MetricLimits
from compress.core.record import LATENCY_BY_ARRIVAL, Arrival, BenchmarkRow, Check, Metric, Metrics, Quantity, Verdict

Positive = Annotated[float, Field(gt=0.0)]
ByDevice = dict[str, Positive]

ARRIVAL_WORDS: Mapping[Arrival, str] = {
    "back_to_back": "back to back",
    "periodic": "periodic inputs",
    "cold": "cold caches",
}
MB = 1e6
"""Bytes in a megabyte, here and in every report."""


class Budget(MetricLimits):
    """The recipe's `budget:` block. Every limit is optional; one at least is given.

    Any metric of the task can be limited on test by its name: `NAME_drop` or, where lower is better, `NAME_rise` is its largest
    loss against the teacher; without one, against the best trained network before the first stage that compresses. `NAME` is
    the bound of the metric itself, the smallest value where higher is better, else the largest. Fractions are written as such:
    0.01 is one point.

    Attributes:
        size_mb: Largest file that ships, in MB of 10⁶ bytes.
        memory_mb: Largest peak memory by device, in MB.
        latency_ms: Largest median latency of one sample by device, for the arrival pattern of the device's profile.
        power_w: Largest mean power by device.
    """

    size_mb: float | None = Field(default=None, gt=0.0)
    memory_mb: ByDevice = Field(default_factory=dict)
    latency_ms: ByDevice = Field(default_factory=dict)
    power_w: ByDevice = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limit_something(self) -> Self:
        if not self.limits and all(getattr(self, name) in (None, {}) for name in type(self).model_fields):
            msg = f"a budget needs at least one limit: a metric of the task, {', '.join(type(self).model_fields)}"
            raise ValueError(msg)
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices that a limit names, sorted; each must be profiled for the budget to pass."""
        return tuple(sorted({*self.memory_mb, *self.latency_ms, *self.power_w}))


@dataclass(frozen=True)
class _Limit:
    """One limit: its words, its bound and the unit to show it in, the quantity's name, and whether it is a lower bound."""

    words: str
    bound: float
    unit: str
    name: str
    lower: bool = False

    def check(self, quantity: Quantity) -> Check:
        """Compare a quantity, in the unit of the bound, with the bound."""
        allowed = f"{'≥' if self.lower else '≤'} {format_value(self.bound, self.unit, exact=True)}"
        if quantity.value is None:
            passed = False
            text = f"{self.words} could not be measured: {quantity.detail or 'no reason recorded'}: not passed"
        else:
            passed = quantity.value >= self.bound if self.lower else quantity.value <= self.bound
            text = _explain(quantity, self.bound, self.unit, passed)
        return Check(limit=self.words, allowed=allowed, quantity=quantity, passed=passed, explanation=text, name=self.name)


def _explain(quantity: Quantity, bound: float, unit: str, passed: bool) -> str:
    """How far the value is from the bound, whether its interval decides the case, and whether it is an estimate."""
    beyond = float(f"{abs((quantity.value or 0.0) - bound):.3g}")
    by = format_value(beyond, "points" if unit == "fraction" else unit, exact=True)
    text = "within the limit" if passed else f"outside the limit by {by}"
    if quantity.low is not None and quantity.high is not None and quantity.low < quantity.high:
        name = "band" if quantity.how == "estimated" else "interval"
        if quantity.low < bound < quantity.high:
            text += f", but the {name} {format_interval(quantity, unit)} reaches across it"
        else:
            text += f", with the whole {name} {format_interval(quantity, unit)}"
    return f"{text}; estimated, not measured: {quantity.detail}" if quantity.how == "estimated" else text


def _final(metrics: Metrics, name: str, unit: str) -> Quantity:
    return metrics.get(name) or Quantity.missing(unit, f"the last stage recorded no {name}")


def _artifact_row(rows: tuple[BenchmarkRow, ...], device: str) -> BenchmarkRow | None:
    """The artifact's row on a device; of several rows the last, which is the latest profile's."""
    return next((row for row in reversed(rows) if row.subject == "artifact" and row.device == device), None)


def _on_device(row: BenchmarkRow | None, device: str, name: str, unit: str) -> Quantity:
    if row is None:
        advice = "name it in a profile stage after the last stage that changes the network"
        return Quantity.missing(unit, f"the artifact was not profiled on {device!r}; {advice}")
    if other := row.other_hardware:
        return Quantity.missing(unit, f"{other} was measured, which is not the hardware of the profile {device!r}")
    return row.quantities.get(name) or Quantity.missing(unit, f"the profile of {device!r} holds no {name}")


def _metric_checks(budget: Budget, metrics: Metrics, limited: Sequence[Metric]) -> Iterator[Check]:
    own = budget.metric_limits(limited)
    for bound in own:
        limit = _Limit(bound.words, bound.bound, bound.unit, bound.name, lower=bound.is_lower_bound)
        yield limit.check(_final(metrics, bound.name, bound.metric.unit))
    names = {bound.name for bound in own}
    for name, value in budget.limits.items():
        if name not in names:
            yield _Limit(name, value, "1", name).check(Quantity.missing("1", f"no metric of the task is called {name}"))


def _checks(budget: Budget, metrics: Metrics, rows: tuple[BenchmarkRow, ...], limited: Sequence[Metric]) -> Iterator[Check]:
    yield from _metric_checks(budget, metrics, limited)
    if budget.size_mb is not None:
        yield _Limit("size", budget.size_mb * MB, "bytes", "size_bytes").check(_final(metrics, "size_bytes", "bytes"))
    for device, bound in budget.latency_ms.items():
        row = _artifact_row(rows, device)
        arrival: Arrival = row.arrival if row else "back_to_back"
        limit = _Limit(f"latency on {device}, {ARRIVAL_WORDS[arrival]}", bound, "ms", LATENCY_BY_ARRIVAL[arrival])
        yield limit.check(_on_device(row, device, limit.name, "ms"))
    for limits, words, name, unit, factor in (
        (budget.memory_mb, "memory", "memory_bytes", "bytes", MB),
        (budget.power_w, "power", "power_w", "W", 1.0),
    ):
        for device, bound in limits.items():
            limit = _Limit(f"{words} on {device}", bound * factor, unit, name)
            yield limit.check(_on_device(_artifact_row(rows, device), device, name, unit))


def check_budget(budget: Budget, *, metrics: Metrics, rows: tuple[BenchmarkRow, ...], limited: Sequence[Metric]) -> Verdict:
    """Check measured quantities against the limits.

    Args:
        budget: The limits.
        metrics: Of what ships, with the metrics of the task, their losses against the reference, and `size_bytes`.
        rows: Rows of all profiles; those of `artifact` are checked.
        limited: The metrics of the task, the deciding one first.

    Returns:
        One check for each limit; passed when all are.
    """
    checks = tuple(_checks(budget, metrics, rows, limited))
    return Verdict(passed=all(check.passed for check in checks), checks=checks)
