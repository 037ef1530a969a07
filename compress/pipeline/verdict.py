"""The verdict of a run: comparison of the final network with the budget, and the reference of its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.core.budget import Budget, check_budget
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metric, Metrics, Quantity, StageRecord
from compress.core.verdict import Verdict
from compress.pipeline.plan import Plan
from compress.pipeline.review.invalid_metrics import losses_to_useless, metrics_without_test, not_measured, without_intervals
from compress.pipeline.review.judge_record import losses_without_pairs, unlimited_checks, warning_checks
from compress.pipeline.stage_output import StageOutput

if TYPE_CHECKING:
    from compress.tasks.base import Task


def reach_verdict(budget: Budget, outputs: Sequence[StageOutput], *, reference: StageOutput | None, task: Task) -> Verdict:
    """Check the budget.

    If the budget has no limit on the deciding metric, a note says so. With any budget a network that predicts one class for all
    samples or is not better than chance does not pass, nor one with a missed check among its warnings, see `warning_checks`.

    Args:
        budget: The limits.
        outputs: The start and every stage in order.
        reference: The network that the metrics were compared with, or None.
        task: Task, for its metrics.
    """
    metrics = [metric.info for metric in task.metrics]
    after = outputs[-1].record.after
    compared = (reference.record.after, reference.record.name) if reference else ({}, "")
    values = (
        after
        | losses_without_pairs(after, *compared, metrics[1:])
        | _losses_to_useless(outputs, reference, task)
        | _metrics_of_a_constant(outputs, metrics)
        | metrics_without_test(metrics, outputs[0].record.warnings)
    )
    values |= without_intervals(values, metrics, outputs[0].record.warnings)
    profile = profile_of_artifact(outputs)
    verdict = check_budget(
        budget,
        metrics=values,
        rows=profile.benchmark_rows if profile else (),
        limited=metrics,
        lengths=profile.length_rows if profile else (),
    )
    is_limited = any(limit.metric.name == task.metric for limit in budget.metric_limits(metrics))
    notes = () if is_limited else (_no_metric_limit(metrics[0]),)
    warnings = outputs[-1].origin.record.warnings
    is_said = is_limited and not verdict.passed  # by a missed limit on the metric
    broken = warning_checks(metrics, warnings, budget) if is_said else unlimited_checks(metrics, after, warnings, budget)
    return Verdict(passed=verdict.passed and not broken, checks=(*broken, *verdict.checks), notes=notes)


def _no_metric_limit(metric: Metric) -> Fact:
    return Fact.of("pipeline.no_metric_limit", gettext(metric.label), names=(metric.loss_name, metric.name))


def best_trained(outputs: Sequence[StageOutput], plan: Plan, metric: Metric) -> StageOutput | None:
    """The best trained network before the first stage that compresses, on validation; None if none is trained.

    Args:
        outputs: The start and the finished stages, in order.
        plan: Plan, which shows whether the start is trained, and which stages train and compress.
        metric: The metric that decides.
    """
    trained = list(outputs[: plan.model.trained])
    for stage, output in zip(plan.stages, outputs[1:], strict=False):
        if stage.compresses:
            break
        trained += [output] * stage.trains

    def quality(output: StageOutput) -> float:
        value = output.record.after[f"{metric.name}_validation"].value
        return float("-inf") if value is None else metric.gain(0.0, value)

    return max(trained, key=quality, default=None)


def profile_of_artifact(outputs: Sequence[StageOutput]) -> StageRecord | None:
    """Record of the last profile; None if there is none, or a later stage changed the network."""
    last = next((output for output in reversed(outputs) if output.record.benchmark_rows), None)
    return None if last is None or last.origin.folder != outputs[-1].origin.folder else last.record


def _losses_to_useless(outputs: Sequence[StageOutput], reference: StageOutput | None, task: Task) -> Metrics:
    """The losses of all metrics as not measured, if the reference has learned nothing."""
    if reference is None:
        return {}
    metric, value = task.metric_info, reference.record.after.get(task.metric)
    warnings = reference.origin.record.warnings
    chance = task.chance_level(outputs[0].spec().classes, {})
    if value is not None and chance is not None and is_chance(value, chance, metric):
        warnings = (*warnings, Fact.of("pipeline.at_chance", gettext(metric.label), value=value.value, chance=chance))
    metrics = [each.info for each in task.metrics]
    return losses_to_useless(metrics, warnings, reference.record.name, metric.unit)


def is_chance(value: Quantity, chance: float, metric: Metric) -> bool:
    """Whether a measured value of a metric is not significantly better than `chance`."""
    worst = value.low if metric.higher_is_better else value.high
    worst = value.value if worst is None else worst
    return worst is not None and metric.gain(chance, worst) <= 0


def _metrics_of_a_constant(outputs: Sequence[StageOutput], metrics: Sequence[Metric]) -> Metrics:
    """The metrics and their losses as not measured, if the final network predicts one class for all test samples.

    If most samples have this class, such a network could pass.
    """
    for warning in outputs[-1].origin.record.warnings:
        if warning.code == "pipeline.one_class_for_all":
            reason = gettext("the final network predicts the class {name!r} for all test samples", name=warning.subject)
            return not_measured(metrics, reason)
    return {}
