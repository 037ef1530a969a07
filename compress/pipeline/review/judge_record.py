"""The verdict on a finished run by any budget, from its record alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from compress.core.budget import Budget, check_budget
from compress.core.errors import RecipeError, ValidationIssue
from compress.core.fact import Fact
from compress.core.record import BenchmarkRow, Metric, Metrics, Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.core.verdict import Check, Verdict
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.tables import final_metrics

USELESS = ("pipeline.one_class_for_all", "pipeline.at_chance", "pipeline.constant_outputs")
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
    useless = recorded_useless_checks(record)
    return Verdict(passed=verdict.passed and not useless, checks=(*useless, *verdict.checks))


def recorded_useless_checks(record: RunRecord) -> tuple[Check, ...]:
    """The check of `useless_checks` on what ships."""
    return useless_checks(deciding_metric(record), final_metrics(record), _warnings(record))


def task_metrics(record: RunRecord) -> tuple[Metric, ...]:
    """The metrics of the run's task, the deciding one first."""
    return (deciding_metric(record), *record.further_metrics)


def shipped_rows(record: RunRecord) -> tuple[BenchmarkRow, ...]:
    """Rows of the last profile, where no later stage changed the network."""
    for stage in reversed(record.stages):
        if stage.benchmark_rows:
            return stage.benchmark_rows
        if has_changed_network(stage):
            return ()
    return ()


def has_changed_network(stage: StageRecord) -> bool:
    """Whether a stage left another network than it was given: one whose metrics are all the same did not."""
    names = stage.before.keys() & stage.after.keys()
    return not names or any(stage.before[name].value != stage.after[name].value for name in names)


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
        if has_changed_network(stage):
            return
