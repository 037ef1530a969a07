"""What a trial measured: its objectives, and how far it is from each limit of the budget. Metrics are those on validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from compress.config.devices import load_device
from compress.config.search_settings import Objective, objective_name, objective_parts
from compress.core.budget import MB, Budget, check_budget
from compress.core.errors import SearchError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.record import BenchmarkRow, Metric, Metrics, Quantity
from compress.core.verdict import Check
from compress.pipeline.executor import PipelineExecutor
from compress.pipeline.review.judge_record import unlimited_checks
from compress.pipeline.verdict import profile_of_artifact

SIZE_OF = {"size_mb": ("size_bytes", MB, "MB"), "params": ("parameters", 1.0, "1"), "macs": ("macs", 1.0, "MAC")}
"""Quantity, divisor and unit of objectives without a device."""
NOT_MEASURED = 1e3
"""Distance from a limit on a quantity that was not measured."""
LEAST = 1e-9
"""Distance from a limit that is not shown to be met, where the value is within it."""


class TrialResult(FrozenModel):
    """Result of a finished trial, as its study keeps it.

    Attributes:
        objectives: The objectives by name.
        distances: Distance from each limit of the budget as a share of the limit; at most 0 where it is met.
        checks: The limits, on validation.
        test: The deciding metric on the test split, which takes no part in the choice.
        digest: Short hash of the recipe of the trial.
        computed_s: Wall time of the stages that it computed, by name; the others were finished.
        wall_s: Wall time of the trial, s.
        energy_j: Energy of the processor in that time, where a sensor was there.
        estimated_ms: Latency by the cost model, ms, where the search has the cost model first.
    """

    objectives: dict[str, Quantity]
    distances: dict[str, float] = Field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    test: Quantity
    digest: str
    computed_s: dict[str, float] = Field(default_factory=dict)
    wall_s: float = 0.0
    energy_j: Quantity | None = None
    estimated_ms: float | None = None


def higher_is_better(objective: Objective, metrics: Sequence[Metric]) -> bool:
    """The direction of an objective; all but metrics are better when lower."""
    return {metric.name: metric.higher_is_better for metric in metrics}.get(objective_parts(objective)[0], False)


def measure_trial(
    executor: PipelineExecutor, objectives: Sequence[Objective], *, rows: tuple[BenchmarkRow, ...] | None = None
) -> TrialResult:
    """The result of a run whose stages are finished.

    Args:
        executor: The run.
        objectives: What is optimized.
        rows: Rows of a profile in place of those of the run, such as estimates.

    Raises:
        SearchError: An objective was not measured.
    """
    last = executor.outputs[-1].record
    metrics = [metric.info for metric in executor.task.metrics]
    profile = profile_of_artifact(executor.outputs)
    if rows is None:
        rows = profile.benchmark_rows if profile else ()
    base = executor.plan.base
    values = {objective_name(objective): _value(objective, last.after, metrics, rows, base) for objective in objectives}
    for name, quantity in values.items():
        if quantity.value is None:
            reason = quantity.detail or gettext("no stage measured it")
            raise SearchError(gettext("{name} was not measured: {reason}", name=name, reason=reason))
    budget = executor.plan.budget
    checks: tuple[Check, ...] = ()
    if budget is not None:
        baseline = executor.baseline()
        on_validation = _on_validation(last.after, baseline.record.after if baseline else {}, metrics)
        lengths = profile.length_rows if profile else ()
        limits = check_budget(budget, metrics=on_validation, rows=rows, limited=metrics, lengths=lengths).checks
        checks = (*unlimited_checks(metrics, last.after, executor.outputs[-1].origin.record.warnings, budget), *limits)
    return TrialResult(
        objectives=values,
        distances={_label(check): _distance(check, budget) for check in checks} if budget else {},
        checks=checks,
        test=last.after[executor.task.metric],
        digest=executor.plan.digest,
    )


def _value(
    objective: Objective, after: Metrics, metrics: Sequence[Metric], rows: Sequence[BenchmarkRow], base: Path
) -> Quantity:
    name, device = objective_parts(objective)
    if not device:
        if name in {metric.name for metric in metrics}:
            return after.get(f"{name}_validation") or Quantity.missing("1", gettext("no stage measured it"))
        own, factor, unit = SIZE_OF[name]
        return _scaled(after.get(own), factor, unit)
    device = load_device(device, base).name
    row = next((row for row in reversed(rows) if row.subject == "artifact" and row.device == device), None)
    if row is None:
        return Quantity.missing("1", gettext("the artifact was not profiled on {device!r}", device=device))
    if name == "memory_mb":
        return _scaled(row.quantities.get("memory_bytes"), MB, "MB")
    return row.quantities.get(row.latency_name if name == "latency_ms" else name) or Quantity.missing(
        "1", gettext("the profile of {device!r} has no {name}", device=device, name=name)
    )


def _scaled(quantity: Quantity | None, factor: float, unit: str) -> Quantity:
    if quantity is None:
        return Quantity.missing(unit, gettext("no stage measured it"))
    ends = {name: None if (value := getattr(quantity, name)) is None else value / factor for name in ("value", "low", "high")}
    return quantity.model_copy(update={**ends, "unit": unit})


def _on_validation(after: Metrics, reference: Metrics, metrics: Sequence[Metric]) -> Metrics:
    """The metrics under the names that limits have, with their values on validation."""
    values = dict(after)
    for metric in metrics:
        own, before = after.get(f"{metric.name}_validation"), reference.get(f"{metric.name}_validation")
        values.pop(metric.name, None)
        values.pop(metric.loss_name, None)
        if own is not None:
            values[metric.name] = own
        if own is not None and before is not None and own.value is not None and before.value is not None:
            loss = -metric.gain(before.value, own.value)
            values[metric.loss_name] = Quantity.measured(loss, metric.unit, gettext("validation split"))
    return values


def _label(check: Check) -> str:
    length = "" if check.length is None else str(check.length)
    return ".".join(part for part in (check.name, check.device, length) if part)


def _distance(check: Check, budget: Budget) -> float:
    quantity, bound = check.quantity, check.bound
    if quantity.value is None or bound is None:
        return NOT_MEASURED
    end = quantity.low if check.is_lower_bound else quantity.high
    value = end if budget.confidence == "interval" and end is not None else quantity.value
    over = (bound - value if check.is_lower_bound else value - bound) / (abs(bound) or 1.0)
    return min(over, 0.0) if check.passed else max(over, LEAST)
