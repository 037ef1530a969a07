"""The verdict on a run: the budget against the network that ships, and the network that its metric is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from compress.core.budget import Budget, check_budget
from compress.core.record import BenchmarkRow, Metric, Metrics, Quantity, Verdict
from compress.pipeline.plan import Plan
from compress.pipeline.stage_output import StageOutput


def reach_verdict(budget: Budget, outputs: Sequence[StageOutput], *, reference: StageOutput | None, metric: Metric) -> Verdict:
    """Check the budget.

    Args:
        budget: The limits.
        outputs: The start and every stage in order; the last ships.
        reference: The network that the metric was compared with; None where there is none.
        metric: The metric that decides.
    """
    after = outputs[-1].record.after
    metrics = after | _meaningless_drop(outputs, reference, metric) | _accuracy_of_a_constant(outputs, metric)
    return check_budget(budget, metrics=metrics, rows=_rows_of_the_artifact(outputs), metric=metric)


def best_trained(outputs: Sequence[StageOutput], plan: Plan, metric: Metric) -> StageOutput | None:
    """The best trained network before the first stage that compresses, on validation; None where none is trained.

    Args:
        outputs: The start and the finished stages, in order.
        plan: Says whether the start is trained, and which stages train and compress.
        metric: The metric that decides.
    """
    trained = list(outputs[: plan.model.trained])
    for stage, output in zip(plan.stages, outputs[1:], strict=False):
        if stage.compresses:
            break
        trained += [output] * stage.trains
    sign = 1 if metric.higher_is_better else -1
    return max(trained, key=lambda output: sign * (output.record.after[f"{metric.name}_validation"].value or 0.0), default=None)


def _rows_of_the_artifact(outputs: Sequence[StageOutput]) -> tuple[BenchmarkRow, ...]:
    """Rows of the last profile, where no later stage changed the network."""
    last = next((output for output in reversed(outputs) if output.record.benchmark_rows), None)
    if last is None or last.origin.folder != outputs[-1].origin.folder:
        return ()
    return last.record.benchmark_rows


def _meaningless_drop(outputs: Sequence[StageOutput], reference: StageOutput | None, metric: Metric) -> Metrics:
    """The drop of the metric as not measured, where the reference is not significantly better than chance."""
    value = reference.record.after.get(metric.name) if reference else None
    if reference is None or value is None or value.value is None or metric.unit != "fraction":
        return {}
    chance = 1 / len(outputs[0].spec().classes)
    if (value.value if value.low is None else value.low) > chance:
        return {}
    reason = (
        f"the reference, the {reference.record.name}, is not significantly better than chance: {value.value:.1%} against "
        f"{chance:.1%}; train it, or load its weights"
    )
    return {f"{metric.name}_drop": Quantity.missing("fraction", reason)}


def _accuracy_of_a_constant(outputs: Sequence[StageOutput], metric: Metric) -> Metrics:
    """The metric and its drop as not measured, where what ships gives one class to all test samples.

    Where most samples have that class, a network that is no better than its majority would pass.
    """
    for warning in outputs[-1].origin.record.warnings:
        if warning.code == "pipeline.one_class_for_all":
            reason = f"the network that ships gives the class {warning.subject!r} to all test samples"
            return dict.fromkeys((metric.name, f"{metric.name}_drop"), Quantity.missing(metric.unit, reason))
    return {}
