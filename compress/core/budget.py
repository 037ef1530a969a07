"""Limits of a recipe and the verdict on what was found.

- A figure that nobody measured or estimated never passes: the reason stands in the verdict.
- A measured or estimated figure is judged on its value. An estimate is said to be one, with its band.
- An interval or band that reaches over the limit is said, on either side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from compress.core.format_quantity import format_interval, format_value
from compress.core.record import BenchmarkRow, Check, FrozenModel, Metrics, Quantity, Verdict

Positive = Annotated[float, Field(gt=0.0)]
ByDevice = dict[str, Positive]

MB = 1e6
"""Bytes in a megabyte, here and in every report."""


class Budget(FrozenModel):
    """The recipe's `budget:` block. Every limit is optional; one at least is given.

    Attributes:
        accuracy_drop: Largest loss of test accuracy, as a fraction (0.01 is one point): against the teacher, or the
            starting network where there is none.
        accuracy: Smallest test accuracy, as a fraction.
        size_mb: Largest file that ships, in MB of 10⁶ bytes.
        memory_mb: Largest peak memory by device, in MB.
        latency_ms: Largest median latency of one sample by device.
        power_w: Largest mean power by device.
    """

    accuracy_drop: float | None = Field(default=None, ge=0.0, lt=1.0)
    accuracy: float | None = Field(default=None, gt=0.0, le=1.0)
    size_mb: float | None = Field(default=None, gt=0.0)
    memory_mb: ByDevice = Field(default_factory=dict)
    latency_ms: ByDevice = Field(default_factory=dict)
    power_w: ByDevice = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limit_something(self) -> Self:
        if all(getattr(self, name) in (None, {}) for name in type(self).model_fields):
            msg = f"a budget needs at least one limit: {', '.join(type(self).model_fields)}"
            raise ValueError(msg)
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices that a limit names, sorted; each must be profiled for the budget to pass."""
        return tuple(sorted({*self.memory_mb, *self.latency_ms, *self.power_w}))


def _compare(limit: str, allowed: float, unit: str, found: Quantity, *, least: bool = False) -> Check:
    """One check; `allowed` counts like `found`, is shown in `unit`, and is a ceiling unless `least`."""
    border = f"{'≥' if least else '≤'} {format_value(allowed, unit, exact=True)}"
    if found.value is None:
        explanation = f"{limit} could not be measured: {found.detail or 'no reason recorded'}: not passed"
        return Check(limit=limit, allowed=border, quantity=found, passed=False, explanation=explanation)
    passed = found.value >= allowed if least else found.value <= allowed
    return Check(limit=limit, allowed=border, quantity=found, passed=passed, explanation=_explain(found, allowed, unit, passed))


def _explain(found: Quantity, allowed: float, unit: str, passed: bool) -> str:
    """Say how the figure stands to the limit, how it came to be and whether its interval decides the case."""
    beyond = float(f"{abs((found.value or 0.0) - allowed):.3g}")
    by = format_value(beyond, "points" if unit == "fraction" else unit, exact=True)
    text = "within the limit" if passed else f"outside the limit by {by}"
    if found.low is not None and found.high is not None and found.low < found.high:
        name = "band" if found.how == "estimated" else "interval"
        if found.low < allowed < found.high:
            text += f", but the {name} {format_interval(found, unit)} reaches across it"
        else:
            text += f", with the whole {name} {format_interval(found, unit)}"
    return f"{text}; estimated, not measured: {found.detail}" if found.how == "estimated" else text


def _final(metrics: Metrics, name: str, unit: str) -> Quantity:
    return metrics.get(name) or Quantity.missing(unit, f"the last stage recorded no {name}")


def _on_device(rows: tuple[BenchmarkRow, ...], device: str, name: str, unit: str) -> Quantity:
    """The artifact's figure on a device; of several rows the last, which is the latest profile's."""
    found = [row for row in rows if row.subject == "artifact" and row.device == device]
    if not found:
        return Quantity.missing(unit, f"the artifact was not profiled on {device!r}; name it in a profile stage")
    return found[-1].quantities.get(name) or Quantity.missing(unit, f"the profile of {device!r} holds no {name}")


def _checks(budget: Budget, metrics: Metrics, rows: tuple[BenchmarkRow, ...]) -> Iterator[Check]:
    if budget.accuracy_drop is not None:
        yield _compare("accuracy drop", budget.accuracy_drop, "points", _final(metrics, "accuracy_drop", "fraction"))
    if budget.accuracy is not None:
        yield _compare("accuracy", budget.accuracy, "fraction", _final(metrics, "accuracy", "fraction"), least=True)
    if budget.size_mb is not None:
        yield _compare("size", budget.size_mb * MB, "bytes", _final(metrics, "size_bytes", "bytes"))
    for limits, name, quantity, unit, factor in (
        (budget.latency_ms, "latency", "latency_p50_ms", "ms", 1.0),
        (budget.memory_mb, "memory", "memory_bytes", "bytes", MB),
        (budget.power_w, "power", "power_w", "W", 1.0),
    ):
        for device, allowed in limits.items():
            found = _on_device(rows, device, quantity, unit)
            yield _compare(f"{name} on {device}", allowed * factor, unit, found)


def check_budget(budget: Budget, *, metrics: Metrics, rows: tuple[BenchmarkRow, ...]) -> Verdict:
    """Hold what was found against the limits.

    Args:
        budget: The limits.
        metrics: Of what ships, with `accuracy`, `accuracy_drop` (fraction, positive where accuracy was lost) and
            `size_bytes`.
        rows: Rows of all profiles; those of `artifact` are looked at.

    Returns:
        One check for each limit; passed when all are.
    """
    checks = tuple(_checks(budget, metrics, rows))
    return Verdict(passed=all(check.passed for check in checks), checks=checks)
