"""The verdict on a finished run by any budget, from its record alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from compress.core.budget import Budget, check_budget
from compress.core.comparable_latency import is_same_network
from compress.core.errors import RecipeError, ValidationIssue
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import BenchmarkRow, Metric, Metrics, Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences.names import network_words
from compress.core.verdict import Check, Verdict
from compress.core.warned_check import check_of
from compress.pipeline.report.outline import deciding_metric
from compress.pipeline.report.tables import final_metrics
from compress.pipeline.review.invalid_metrics import USELESS, losses_to_useless, metrics_without_test, without_intervals


def judge_record(record: RunRecord, budget: Budget) -> Verdict:
    """Check a budget against what a run recorded.

    The loss of the deciding metric is the recorded one, paired over samples. That of another metric is the difference of its
    value to the teacher's. A loss against a network that has learned nothing is not measured, and neither is a metric on noise.

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
    values = shipped | _losses(record, shipped, metrics) | _invalid(record, metrics)
    values |= without_intervals(values, metrics, record.warnings)
    profile = shipped_profile(record)
    rows, lengths = (profile.benchmark_rows, profile.length_rows) if profile else ((), ())
    verdict = check_budget(budget, metrics=values, rows=rows, limited=metrics, lengths=lengths)
    broken = recorded_warning_checks(record, budget)
    return Verdict(passed=verdict.passed and not broken, checks=(*broken, *verdict.checks))


def recorded_warning_checks(record: RunRecord, budget: Budget | None = None) -> tuple[Check, ...]:
    """The checks of `useless_checks` and `warning_checks` on what ships."""
    return unlimited_checks(task_metrics(record), final_metrics(record), _warnings(record), budget)


def task_metrics(record: RunRecord) -> tuple[Metric, ...]:
    """The metrics of the run's task, the deciding one first."""
    return (deciding_metric(record), *record.further_metrics)


def shipped_rows(record: RunRecord) -> tuple[BenchmarkRow, ...]:
    """Rows of the last profile, where no later stage changed the network."""
    profile = shipped_profile(record)
    return profile.benchmark_rows if profile else ()


def shipped_profile(record: RunRecord) -> StageRecord | None:
    """Record of the last profile, where no later stage changed the network; else None."""
    for stage in reversed(record.stages):
        if stage.benchmark_rows:
            return stage
        if not is_same_network(stage.before, stage.after):
            return None
    return None


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
        detail = gettext(
            "against {reference}: the difference of two values, without a paired interval", reference=network_words(name)
        )
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
    value = after.get(metric.name) or Quantity.missing(metric.unit, gettext("not recorded"))
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


def unlimited_checks(
    metrics: Sequence[Metric], after: Metrics, warnings: Iterable[Fact], budget: Budget | None
) -> tuple[Check, ...]:
    """The checks of `useless_checks` and `warning_checks` on a network.

    Args:
        metrics: The metrics of the task, the deciding one first.
        after: Metrics of the network.
        warnings: On the stage that made it.
        budget: The limits; None for none.
    """
    known = tuple(warnings)
    return (*useless_checks(metrics[0], after, known), *warning_checks(metrics, known, budget))


def _losses(record: RunRecord, shipped: Metrics, metrics: tuple[Metric, ...]) -> Metrics:
    missing = {
        metric.loss_name: Quantity.missing(
            metric.unit,
            gettext("the run recorded no {metric} of a teacher to compare with", metric=gettext(metric.label)),
        )
        for metric in metrics
    }
    teacher = record.teacher.after if record.teacher else {}
    losses = missing | losses_without_pairs(shipped, teacher, "teacher", metrics)
    return {name: loss for name, loss in losses.items() if name not in shipped}


def _invalid(record: RunRecord, metrics: tuple[Metric, ...]) -> Metrics:
    """Losses and metrics that show nothing, as not measured.

    They are losses that the run's verdict did not measure, losses against a network that has learned nothing, and metrics on
    samples that are no test.
    """
    checks = record.verdict.checks if record.verdict else ()
    names = {metric.loss_name for metric in metrics}
    unmeasured = {
        check.quantity_name: check.quantity for check in checks if check.quantity_name in names and check.quantity.value is None
    }
    reference, warnings = _reference(record, metrics[0])
    useless = losses_to_useless(metrics, warnings, reference, metrics[0].unit)
    return unmeasured | useless | metrics_without_test(metrics, record.warnings)


def _reference(record: RunRecord, metric: Metric) -> tuple[str, Sequence[Fact]]:
    """Name of the network that losses are against, the teacher or the network of an earlier stage, and the warnings on it."""
    if record.teacher:
        return record.teacher.name, record.teacher.warnings
    loss = final_metrics(record).get(metric.loss_name)
    detail = "" if loss is None or record.reference else loss.detail  # older records name the stage in this text only
    for index, stage in reversed(list(enumerate(record.stages))):
        if stage.name == record.reference or detail.startswith(f"against the network after {stage.name},"):
            return stage.name, tuple(_warnings_up_to(record, index + 1))
    return "start", record.warnings


def _warnings(record: RunRecord) -> Iterator[Fact]:
    """Warnings of the stages from the end up to the one that made what ships."""
    return _warnings_up_to(record, len(record.stages))


def _warnings_up_to(record: RunRecord, count: int) -> Iterator[Fact]:
    """Warnings on the network after `count` stages: of the last of them, up to the one that made it."""
    for stage in reversed(record.stages[:count]):
        yield from stage.warnings
        if not is_same_network(stage.before, stage.after):
            return
