"""Metrics of a network on the test and the validation split, and of the control that it is compared with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compress.backends.iterate_split import RecordedOutputs, iterate_split
from compress.backends.permuted_outputs import PermutedOutputs
from compress.backends.run_split import SplitScores, run_split, with_threshold_of
from compress.core.entries import Tables
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.stage import Candidate, Context
from compress.data.split_checks import refuse_unlabelled
from compress.pipeline.task_data import takes_class_numbers
from compress.tasks.classification import ACCURACY
from compress.tasks.metric import ThresholdMetric
from compress.tasks.metric_quantity import estimate, gain_of, least_gain
from compress.tasks.text.similarity_metric import Retrieval
from compress.train.checkpoints import load_weights

if TYPE_CHECKING:
    from torch import nn

    from compress.tasks.base import Task

CONTROL = "control.safetensors"
ONNX_RUNTIME = "onnxruntime"


class SplitMetrics(NamedTuple):
    """Metrics of a network on both splits.

    Attributes:
        metrics: Those of the test split by name, those of the validation split as `NAME_validation`.
        results: Further quantities of the test split.
        test: Scores; the deciding metric is held against the threshold of the validation split, where it has one.
        validation: Likewise, by itself.
        tables: Further tables of the test split.
        warnings: Of the task, on the test split.
    """

    metrics: Metrics
    results: Metrics
    test: SplitScores
    validation: SplitScores
    tables: Tables
    warnings: tuple[Fact, ...]


def measure_splits(candidate: Candidate, context: Context) -> SplitMetrics:
    """All metrics of each split in one pass; the deciding one has an interval, others where it costs nothing.

    Args:
        candidate: The network: a module runs in torch, a file in its runtime.
        context: The splits and the task.

    Raises:
        DataError: Samples have no label, or the validation split has no sample to choose a threshold on, where the task needs
            one.
    """
    task, classes = context.task, candidate.spec.classes
    network: nn.Module | Path
    if candidate.module is not None:
        network, runtime, where = candidate.module, ONNX_RUNTIME, "torch"
    else:
        runtime, network = candidate.artifact
        where = (
            "ONNX Runtime" if runtime == ONNX_RUNTIME else gettext("{file} in {runtime}", file=network.name, runtime=runtime)
        )
    data = context.data
    validation = run_split(network, data.validation, task, runtime=runtime, every_metric=True)
    outputs = PermutedOutputs(len(data.test))
    parts = outputs.watch(iterate_split(network, data.test, task, runtime=runtime))
    test = with_threshold_of(validation, run_split(RecordedOutputs(parts), data.test, task, every_metric=True), task)
    _check_labels(validation, test, task, candidate)
    where_test = gettext("{network}, test split", network=where)
    where_validation = gettext("{network}, validation split", network=where)
    metrics = _quantities(test, task, where_test) | {
        f"{name}_validation": quantity for name, quantity in _quantities(validation, task, where_validation).items()
    }
    statistics = {**test.further, task.metric: test.scores}
    further = task.further_results(statistics, classes, where_test)
    quantities = dict(further.quantities)
    if not has_own_chance(test, task, classes):
        quantities |= _permuted(outputs, test, validation, task, where)
    return SplitMetrics(metrics, quantities, test, validation, further.tables, further.warnings)


def _check_labels(validation: SplitScores, test: SplitScores, task: Task, candidate: Candidate) -> None:
    """Refuse samples without a label in splits whose labels were not known before they were read.

    Raises:
        DataError: There are such samples.
    """
    for name, result in (("validation", validation), ("test", test)):
        if result.answers is not None and takes_class_numbers(task, candidate.spec):
            refuse_unlabelled(result.answers[:, 1], name)


def permuted_names(metric: str) -> tuple[str, str]:
    """Names of the metric of outputs that are assigned to other samples, and of the gain over it."""
    return f"permuted_{metric}", f"{metric}_over_permuted"


def has_own_chance(test: SplitScores, task: Task, classes: Sequence[str]) -> bool:
    """Whether chance is known exactly: the accuracy of answers in random order, or the level of a metric of other kinds.

    Recall at a rate of false alarms is also good for a permutation that finds most parts defective where most are. How near the
    vectors of two texts are is the same for all permutations of pairs.

    Args:
        test: Scores on the test split.
        task: Task with the metrics.
        classes: Class names.
    """
    if task.metric == ACCURACY.name and test.has_classes:
        return True
    statistics = {**test.further, task.metric: test.scores}
    has_level = isinstance(task.deciding, ThresholdMetric | Retrieval)
    return has_level and task.chance_level(classes, statistics) is not None


def _permuted(
    outputs: PermutedOutputs, test: SplitScores, validation: SplitScores, task: Task, where: str
) -> dict[str, Quantity]:
    """The deciding metric of outputs that are assigned to other test samples, and the gain of the network over it."""
    metric = task.deciding
    if (scored := outputs.scores(task, metric)) is None:
        return {}
    permuted = scored.permuted
    if isinstance(metric, ThresholdMetric):
        permuted = metric.with_threshold(permuted, metric.choose_threshold(validation.scores))
    level, over = permuted_names(task.metric)
    count = len(permuted)
    against = gettext("its outputs assigned to other samples")
    permuted, gain = least_gain(metric, permuted, test.scores[scored.rows], against)
    detail = gettext("{network}, {count} outputs assigned to other samples of the test split", network=where, count=count)
    return {level: estimate(metric, permuted, detail, bootstrap=False), over: gain}


def _quantities(result: SplitScores, task: Task, where: str) -> Metrics:
    metrics = {task.metric: estimate(task.deciding, result.scores, where)}
    for metric in task.metrics[1:]:
        if (statistics := result.further.get(metric.info.name)) is not None:
            metrics[metric.info.name] = estimate(metric, statistics, where, bootstrap=False)
    return metrics


def measure_control(candidate: Candidate, context: Context, scores: np.ndarray) -> Metrics:
    """Metric on test of the control, the same network trained without the teacher, and the student's gain over it.

    Args:
        candidate: The student; empty for one without a control in the stage's folder.
        context: The splits and the task.
        scores: Statistics of the student on the test split.
    """
    path = context.folder / CONTROL
    if not path.exists() or candidate.module is None:
        return {}
    control = copy.deepcopy(candidate.module)
    load_weights(control, path)
    task, splits = context.task, context.data
    result = run_split(control, splits.test, task)
    if isinstance(task.deciding, ThresholdMetric):
        result = with_threshold_of(run_split(control, splits.validation, task), result, task)
    where = gettext("student trained alone, same epochs; torch, test split")
    against = gettext("the student trained alone for the same epochs")
    return {
        f"control_{task.metric}": estimate(task.deciding, result.scores, where),
        f"{task.metric}_over_control": gain_of(task.deciding, result.scores, scores, against),
    }
