"""The verdict on a finished run by any budget, from its record alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from compress.core.budget import Budget, check_budget
from compress.core.comparable_latency import is_same_network
from compress.core.errors import RecipeError, ValidationIssue
from compress.core.fact import Fact
from compress.core.record import BenchmarkRow, Metric, Metrics, Quantity
from compress.core.run_record import RunRecord
from compress.core.verdict import Check, Verdict
from compress.core.warned_check import check_of
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.tables import final_metrics

USELESS = (
    "pipeline.one_class_for_all",
    "pipeline.at_chance",
    "pipeline.constant_outputs",
    "pipeline.input_not_used",
)
"""Warnings on a network that has learned nothing, or lost it."""


def judge_record(record: RunRecord, budget: Budget) -> Verdict:
    """Check a budget against what a run recorded.

    The loss of the deciding metric is the recorded one, paired over samples. That of another metric is the difference of its
    value to the teacher's.

    Args:
        record: The run; its last stage made what ships.
        budget: The limits.

    Raises:
        RecipeError: The budget limits a metric that the run's task has not.
    """
    metrics = task_metrics(record)
    if faults := list(budget.faults(str(record.recipe.get("task", "")), metrics)):
        raise RecipeError("budget", [ValidationIssue(message, path=name) for name, message in faults])
    shipped = final_metrics(record)
    values = shipped | _losses(record, shipped, metrics) | _meaningless_loss(record, metrics[0])
    verdict = check_budget(budget, metrics=values, rows=shipped_rows(record), limited=metrics)
    broken = recorded_warning_checks(record, budget)
    return Verdict(passed=verdict.passed and not broken, checks=(*broken, *verdict.checks))


def recorded_warning_checks(record: RunRecord, budget: Budget | None = None) -> tuple[Check, ...]:
    """The checks of `useless_checks` and `warning_checks` on what ships."""
    metrics, warnings = task_metrics(record), tuple(_warnings(record))
    useless = useless_checks(metrics[0], final_metrics(record), warnings)
    return (*useless, *warning_checks(metrics, warnings, budget))


def task_metrics(record: RunRecord) -> tuple[Metric, ...]:
    """The metrics of the run's task, the deciding one first."""
    return (deciding_metric(record), *record.further_metrics)


def shipped_rows(record: RunRecord) -> tuple[BenchmarkRow, ...]:
    """Rows of the last profile, where no later stage changed the network."""
    for stage in reversed(record.stages):
        if stage.benchmark_rows:
            return stage.benchmark_rows
        if not is_same_network(stage.before, stage.after):
            return ()
    return ()


def losses_without_pairs(after: Metrics, reference: Metrics, name: str, metrics: Iterable[Metric]) -> Metrics:
    """Losses of metrics whose values alone are recorded, not those of each sample.

    Args:
        after: Metrics of the network.
        reference: Of what it is compared with.
        name: Of the reference.
        metrics: Those to compare; one without a value on either side is left out.
    """
    losses: Metrics = {}
    for metric in metrics:
        value, other = after.get(metric.name), reference.get(metric.name)
        if value is None or value.value is None or other is None or other.value is None:
            continue
        detail = f"against the {name}: the difference of two values, without a paired interval"
        loss = -metric.gain(other.value, value.value)
        losses[metric.loss_name] = Quantity.measured(loss, metric.unit, detail, runs=value.runs)
    return losses


def useless_checks(metric: Metric, after: Metrics, warnings: Iterable[Fact]) -> tuple[Check, ...]:
    """A failed check without a limit, if a warning says that the network has learned nothing: it meets no budget. Else none.

    Args:
        metric: The deciding metric.
        after: Metrics of the network.
        warnings: On the stage that made it.
    """
    value = after.get(metric.name) or Quantity.missing(metric.unit, "not recorded")
    reasons = [warning for warning in warnings if warning.code in USELESS]
    return tuple(
        Check(quantity=value, passed=False, name=metric.name, label=metric.label, reason=reason) for reason in reasons[:1]
    )


def warning_checks(metrics: Sequence[Metric], warnings: Iterable[Fact], budget: Budget | None) -> tuple[Check, ...]:
    """The missed checks that warnings carry, of bounds that the task sets; see `compress.core.warned_check`.

    Where a budget can limit the quantity, it counts with a budget that limits metrics of the task, unless it limits this one.
    Else it counts with every budget, such as the error of a value that is no better than a constant.

    Args:
        metrics: The metrics of the task.
        warnings: On the stage that made the network.
        budget: The limits; None for none.
    """
    limited = {limit.name for limit in budget.metric_limits(metrics)} if budget else set()
    names = {metric.name for metric in metrics}
    checks = (check for warning in warnings if (check := check_of(warning)) is not None)
    return tuple(check for check in checks if check.name not in names or (limited and check.name not in limited))


def _losses(record: RunRecord, shipped: Metrics, metrics: tuple[Metric, ...]) -> Metrics:
    missing = {
        metric.loss_name: Quantity.missing(metric.unit, f"the run recorded no {metric.label} of a teacher to compare with")
        for metric in metrics
    }
    teacher = record.teacher.after if record.teacher else {}
    losses = missing | losses_without_pairs(shipped, teacher, "teacher", metrics)
    return {name: loss for name, loss in losses.items() if name not in shipped}


def _meaningless_loss(record: RunRecord, metric: Metric) -> Metrics:
    """The loss of the deciding metric as not measured, where the run's verdict says so, or its teacher has learned nothing."""
    for check in record.verdict.checks if record.verdict else ():
        if check.quantity_name == metric.loss_name and check.quantity.value is None:
            return {metric.loss_name: check.quantity}
    if record.teacher and any(warning.code in USELESS for warning in record.teacher.warnings):
        reason = "the teacher has learned nothing; train it, or load its weights"
        return {metric.loss_name: Quantity.missing(metric.unit, reason)}
    return {}


def _warnings(record: RunRecord) -> Iterator[Fact]:
    """Warnings of the stages from the end up to the one that made what ships."""
    for stage in reversed(record.stages):
        yield from stage.warnings
        if not is_same_network(stage.before, stage.after):
            return
