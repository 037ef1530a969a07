"""Warnings on a network that has learned nothing, or lost it, from what was measured on the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.bootstrap import LEAST_SAMPLES
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Quantity
from compress.core.warned_check import check_of
from compress.pipeline.review.invalid_metrics import ANSWERS_NOT_TRAINED, USELESS
from compress.pipeline.split_metrics import has_own_chance, permuted_names
from compress.pipeline.verdict import is_chance
from compress.tasks.classification import ACCURACY
from compress.tasks.metric import ThresholdMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compress.pipeline.split_metrics import SplitMetrics
    from compress.pipeline.stage_output import StageOutput
    from compress.tasks.base import Task


def useless_warning(measured: SplitMetrics, classes: Sequence[str], task: Task) -> tuple[Fact, ...]:
    """A warning for a network that predicts one class for all test samples, is at chance, or does not use its input; else none.

    Chance is that of the task, and for one class per sample that of the same answers in random order. For any task, a network
    whose metric is not significantly better than with its outputs assigned to other samples does not use its input. Where the
    samples are too few to compare, a warning says that this is unknown.

    Args:
        measured: Metrics of the network.
        classes: Class names.
        task: Task, for the chance level.
    """
    result, label = measured.test, gettext(task.metric_info.label)
    samples = len(result.scores)
    by_threshold = isinstance(task.deciding, ThresholdMetric)
    if result.only_class is not None and classes and not by_threshold:
        return (Fact.of("pipeline.one_class_for_all", classes[result.only_class], samples=samples),)
    value = measured.metrics[task.metric]
    chance = task.chance_level(classes, {**result.further, task.metric: result.scores})
    if chance is None or not is_chance(value, chance, task.metric_info):
        chance = result.chance if task.metric == ACCURACY.name else None
    if chance is not None:
        return (Fact.of("pipeline.at_chance", label, value=value.value, chance=chance, samples=samples, unit=value.unit),)
    if result.constant:
        return (Fact.of("pipeline.constant_outputs", label, samples=samples),)
    return () if has_own_chance(result, task, classes) else _input_not_used(measured, task)


def untrained_answers(warnings: Sequence[Fact], value: Quantity, task: Task) -> tuple[Fact, ...]:
    """Warnings on a network whose stage trained layers and not its answers: it cannot have learned them yet.

    Args:
        warnings: Of `useless_warning`, and others.
        value: Its deciding metric.
        task: The task.
    """
    codes = (*USELESS, "pipeline.input_use_unknown")
    others = tuple(warning for warning in warnings if warning.code not in codes)
    if len(others) == len(warnings):
        return tuple(warnings)
    label = gettext(task.metric_info.label)
    return (*others, Fact.of(ANSWERS_NOT_TRAINED, label, value=value.value, unit=value.unit))


def _input_not_used(measured: SplitMetrics, task: Task) -> tuple[Fact, ...]:
    """A warning where the paired interval of the gain over permuted outputs reaches 0, or where there is no interval."""
    permuted, gain = (measured.results.get(name) for name in permuted_names(task.metric))
    if permuted is None or gain is None or gain.low is None:
        label, samples = gettext(task.metric_info.label), len(measured.test.scores)
        return (Fact.of("pipeline.input_use_unknown", label, samples=samples, least=LEAST_SAMPLES),)
    if gain.low > 0:
        return ()
    value = _value_on_same_samples(permuted, gain, higher_is_better=task.metric_info.higher_is_better)
    values = {"value": value, "chance": permuted.value, "low": gain.low, "high": gain.high, "samples": gain.runs}
    return (Fact.of("pipeline.input_not_used", gettext(task.metric_info.label), unit=permuted.unit, **values),)


def _value_on_same_samples(permuted: Quantity, gain: Quantity, *, higher_is_better: bool) -> float | None:
    if permuted.value is None or gain.value is None:
        return None
    return permuted.value + gain.value if higher_is_better else permuted.value - gain.value


def warnings_of_same_bytes(previous: StageOutput) -> tuple[Fact, ...]:
    """Warnings of an earlier evaluation of the same file, which apply to every stage with this file.

    Args:
        previous: Output with this file.
    """
    codes = (*USELESS, "pipeline.outputs_not_finite", "pipeline.input_use_unknown", "tasks.class_not_recognised")
    return tuple(warning for warning in previous.origin.record.warnings if warning.code in codes or check_of(warning))
