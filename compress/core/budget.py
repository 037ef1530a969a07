"""Limits of a recipe, and the verdict.

- A quantity that was neither measured nor estimated does not pass; the verdict gives the reason.
- A measured or estimated quantity is compared by its value. An estimate is marked as such, with its error band.
- A limit is met, met but not shown (the interval or band contains it, a metric or a time has no interval, or the value is an
  estimate), or missed. The field `confidence` of the budget decides whether "not shown" passes. An interval of the loss below
  the limit is a test of non-inferiority with the limit as margin: at 95 %, two-sided, it errs on the side of passing in
  2.5 % of cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.core.language import gettext
from compress.core.metric_limits import MetricLimits
from compress.core.record import LATENCY_BY_ARRIVAL, Arrival, BenchmarkRow, LengthRow, Metric, Metrics, Quantity
from compress.core.verdict import Check, Verdict

Positive = Annotated[float, Field(gt=0.0)]
ByDevice = dict[str, Positive]
ByLength = dict[Annotated[int, Field(ge=1)], Positive]
"""Limits by sequence length."""

Confidence = Literal["point", "interval"]
MB = 1e6
"""Bytes in a megabyte, here and in every report."""


class Budget(MetricLimits):
    """The `budget:` block of a recipe: at least one limit.

    Any metric of the task on the test split can be limited by its name. `NAME_drop` (`NAME_rise` where lower is better) is its
    largest loss against the teacher; without a teacher, against the best trained network before the first stage that
    compresses. `NAME` is the bound of the metric: the smallest value where higher is better, else the largest. For a metric
    that is a fraction, 0.01 is one percentage point.

    Attributes:
        confidence: What passes: with `point`, values within their limits; with `interval`, only measured values whose whole
            95 % interval is within.
        size_mb: Largest size of the artifact's file, in MB of 10⁶ bytes.
        memory_mb: Largest peak memory, in MB, by device.
        latency_ms: Largest median latency of one sample, by device, for the arrival pattern of the device profile; of a network
            that takes tokens, at its typical length. In place of one number, limits by sequence length such as
            `{host: {64: 5, 512: 40}}` hold for back-to-back inputs at these lengths, which a profile stage must measure.
        power_w: Largest mean power, by device.
    """

    confidence: Confidence = "point"
    size_mb: float | None = Field(default=None, gt=0.0)
    memory_mb: ByDevice = Field(default_factory=dict)
    latency_ms: dict[str, Positive | ByLength] = Field(default_factory=dict)
    power_w: ByDevice = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limit_something(self) -> Self:
        own = [name for name in type(self).model_fields if name != "confidence"]
        if not self.limits and all(getattr(self, name) in (None, {}) for name in own):
            msg = gettext("a budget needs at least one limit: a metric of the task, {own}", own=", ".join(own))
            raise ValueError(msg)
        return self

    @property
    def typical_latency_ms(self) -> ByDevice:
        """Limits of the latency at the typical length, by device."""
        return {device: limit for device, limit in self.latency_ms.items() if not isinstance(limit, dict)}

    @property
    def latency_ms_by_length(self) -> dict[str, ByLength]:
        """Limits of the latency by sequence length, by device."""
        return {device: limits for device, limits in self.latency_ms.items() if isinstance(limits, dict)}

    @property
    def devices(self) -> tuple[str, ...]:
        """Sorted names of the devices with limits; each must be profiled for the budget to pass."""
        return tuple(sorted({*self.memory_mb, *self.latency_ms, *self.power_w}))


@dataclass(frozen=True)
class _Limit:
    """One limit of a budget, as in `Check`."""

    name: str
    label: str
    bound: float
    unit: str
    is_lower_bound: bool = False
    device: str = ""
    arrival: Arrival | None = None
    length: int | None = None

    def check(self, quantity: Quantity, confidence: Confidence) -> Check:
        """Compare a quantity, in the unit of the bound, with the bound."""
        check = Check(quantity=quantity, passed=False, **vars(self))
        passing = ("met",) if confidence == "interval" else ("met", "not shown")
        return check.model_copy(update={"passed": check.result in passing})


def _final(metrics: Metrics, name: str, unit: str) -> Quantity:
    return metrics.get(name) or Quantity.missing(unit, gettext("the last stage recorded no {name}", name=name))


def _artifact_row(rows: tuple[BenchmarkRow, ...], device: str) -> BenchmarkRow | None:
    """The row of the artifact on a device; the last one if there are several, which is from the latest profile."""
    return next((row for row in reversed(rows) if row.subject == "artifact" and row.device == device), None)


def _on_device(row: BenchmarkRow | None, device: str, name: str, unit: str) -> Quantity:
    if row is None:
        advice = gettext("add it to a profile stage after the last stage that changes the network")
        return Quantity.missing(
            unit, gettext("the artifact was not profiled on {device!r}; {advice}", device=device, advice=advice)
        )
    if other := row.other_hardware:
        return Quantity.missing(
            unit,
            gettext("{other} was measured, and the profile {device!r} describes other hardware", other=other, device=device),
        )
    return row.quantities.get(name) or Quantity.missing(
        unit, gettext("the profile of {device!r} has no {name}", device=device, name=name)
    )


def _metric_limits(budget: Budget, metrics: Metrics, limited: Sequence[Metric]) -> Iterator[tuple[_Limit, Quantity]]:
    own = budget.metric_limits(limited)
    for bound in own:
        limit = _Limit(bound.name, bound.words, bound.bound, bound.unit, bound.is_lower_bound)
        yield limit, _final(metrics, bound.name, bound.metric.unit)
    names = {bound.name for bound in own}
    for name, value in budget.limits.items():
        if name not in names:
            yield (
                _Limit(name, name, value, "1"),
                Quantity.missing("1", gettext("no metric of the task is called {name}", name=name)),
            )


def _device_limits(budget: Budget, rows: tuple[BenchmarkRow, ...]) -> Iterator[tuple[_Limit, Quantity]]:
    for device, bound in budget.typical_latency_ms.items():
        row = _artifact_row(rows, device)
        arrival: Arrival = row.arrival if row else "back_to_back"
        limit = _Limit(LATENCY_BY_ARRIVAL[arrival], gettext("latency"), bound, "ms", device=device, arrival=arrival)
        yield limit, _on_device(row, device, limit.name, "ms")
    for limits, label, name, unit, factor in (
        (budget.memory_mb, gettext("memory"), "memory_bytes", "bytes", MB),
        (budget.power_w, gettext("power"), "power_w", "W", 1.0),
    ):
        for device, bound in limits.items():
            quantity = _on_device(_artifact_row(rows, device), device, name, unit)
            yield _Limit(name, label, bound * factor, unit, device=device), quantity


def _length_limits(budget: Budget, rows: Sequence[LengthRow]) -> Iterator[tuple[_Limit, Quantity]]:
    """Limits at sequence lengths, at batch 1."""
    by_point = {(row.device, row.length): row for row in rows if row.subject == "artifact" and row.batch == 1}
    name = LATENCY_BY_ARRIVAL["back_to_back"]
    for device, bounds in budget.latency_ms_by_length.items():
        for length, bound in sorted(bounds.items()):
            row = by_point.get((device, length))
            quantity = row.quantities[name] if row else Quantity.missing("ms", _length_missing(device, length))
            limit = _Limit(name, gettext("latency"), bound, "ms", device=device, arrival="back_to_back", length=length)
            yield limit, quantity


def _length_missing(device: str, length: int) -> str:
    return gettext(
        "length {length} was not profiled on {device!r}; add it to `lengths` of a profile stage after the last stage that "
        "changes the network",
        length=length,
        device=device,
    )


def check_budget(
    budget: Budget,
    *,
    metrics: Metrics,
    rows: tuple[BenchmarkRow, ...],
    limited: Sequence[Metric],
    lengths: Sequence[LengthRow] = (),
) -> Verdict:
    """Check measured quantities against the limits.

    Args:
        budget: The limits.
        metrics: Metrics of the artifact: those of the task, their losses against the reference, and `size_bytes`.
        rows: Rows of all profiles; those of `artifact` are checked.
        limited: The metrics of the task, the deciding one first.
        lengths: Rows of the last profile by sequence length.

    Returns:
        A check for each limit; the verdict passes if all checks do.
    """
    limits = list(_metric_limits(budget, metrics, limited))
    if budget.size_mb is not None:
        limit = _Limit("size_bytes", gettext("size"), budget.size_mb * MB, "bytes")
        limits.append((limit, _final(metrics, "size_bytes", "bytes")))
    limits += [*_device_limits(budget, rows), *_length_limits(budget, lengths)]
    checks = tuple(limit.check(quantity, budget.confidence) for limit, quantity in limits)
    return Verdict(passed=all(check.passed for check in checks), checks=checks)
