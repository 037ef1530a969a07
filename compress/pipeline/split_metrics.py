"""Metrics of a network on the test and the validation split, and of the control that it is compared with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compress.backends.run_split import SplitScores, run_split, with_threshold_of
from compress.core.record import Metrics
from compress.core.stage import Candidate, Context
from compress.tasks.defect_task import DefectTask
from compress.tasks.metric import ThresholdMetric
from compress.tasks.metric_quantity import estimate, gain_of
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
    """

    metrics: Metrics
    results: Metrics
    test: SplitScores
    validation: SplitScores


def measure_splits(candidate: Candidate, context: Context) -> SplitMetrics:
    """All metrics of each split in one pass; the deciding one has an interval, others where it costs nothing.

    Args:
        candidate: The network: a module runs in torch, a file in its runtime.
        context: The splits and the task.

    Raises:
        DataError: The validation split has no sample to choose a threshold on, where the task needs one.
    """
    task, classes = context.task, candidate.spec.classes
    network: nn.Module | Path
    if candidate.module is not None:
        network, runtime, where = candidate.module, ONNX_RUNTIME, "torch"
    else:
        runtime, network = candidate.artifact
        where = "ONNX Runtime" if runtime == ONNX_RUNTIME else f"{network.name} in {runtime}"
    splits = {"test": context.data.test, "validation": context.data.validation}
    results = {name: run_split(network, split, task, runtime=runtime, every_metric=True) for name, split in splits.items()}
    validation = results["validation"]
    test = with_threshold_of(validation, results["test"], task)
    metrics = _quantities(test, task, f"{where}, test split") | {
        f"{name}_validation": quantity for name, quantity in _quantities(validation, task, f"{where}, validation split").items()
    }
    further = task.test_results(test.scores, classes, f"{where}, test split") if isinstance(task, DefectTask) else {}
    return SplitMetrics(metrics, further, test, validation)


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
    return {
        f"control_{task.metric}": estimate(
            task.deciding, result.scores, "student trained alone, same epochs; torch, test split"
        ),
        f"{task.metric}_over_control": gain_of(task.deciding, result.scores, scores, "the student trained alone for as long"),
    }
