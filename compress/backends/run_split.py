"""Score a network on a split: statistics of the deciding metric of each sample, and the mean loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compress.backends.runner_protocol import Array
from compress.data.batch import Split, Tensors
from compress.tasks.metric import ThresholdMetric

if TYPE_CHECKING:
    from compress.tasks.base import Task
from compress.backends.iterate_split import Network, iterate_split


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Result of a network on a split.

    Attributes:
        scores: Statistics of the deciding metric of each sample: its score, (N,), where the metric is a mean, else (N, S).
        loss: The task's loss, averaged over the samples.
        metric: The deciding metric.
        not_finite: Number of samples with an output that is NaN or infinite.
        further: Statistics of the task's other metrics by name, where they were asked for, of those that have a value.
        metrics: Values of the deciding metric and of these, by name.
        only_class: Index of the largest output, where it is the same for all samples of several classes; else None.
    """

    scores: Array
    loss: float
    metric: float
    not_finite: int = 0
    only_class: int | None = None
    further: Mapping[str, Array] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def run_split(
    network: Network,
    split: Split,
    task: Task,
    *,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    runtime: str = "onnxruntime",
    every_metric: bool = False,
) -> SplitScores:
    """Score a network on every sample of a split, in order and not augmented.

    Args:
        network: See `iterate_split`, as are the other arguments.
        split: Samples.
        task: Gives score and loss.
        batch_size: Samples per batch; affects memory and speed only.
        device: Where a torch module runs.
        runtime: What runs a file, as in a device profile.
        every_metric: Compute all metrics of the task in the same pass, not only the deciding one.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    measured = task.metrics if every_metric else (task.deciding,)
    statistics: dict[str, list[Array]] = {metric.info.name: [] for metric in measured}
    loss, not_finite = 0.0, 0
    predicted, expected = set[int](), set[int]()
    for outputs, batch in iterate_split(network, split, task, batch_size=batch_size, device=device, runtime=runtime):
        batch = batch.to("cpu")
        for metric in measured:
            statistics[metric.info.name].append(metric.scores(outputs, batch.targets).numpy())
        loss += float(task.loss(outputs, batch.targets)) * batch.size
        not_finite += int(_not_finite(outputs).sum())
        _collect_classes(outputs, batch.targets, predicted, expected)
    gathered = {name: np.concatenate(parts) for name, parts in statistics.items()}
    values = {metric.info.name: metric.value(gathered[metric.info.name]) for metric in measured}
    scores = gathered.pop(task.metric)
    further = {name: rows for name, rows in gathered.items() if np.isfinite(values[name])}
    return SplitScores(
        scores,
        loss / len(scores),
        values[task.metric],
        not_finite,
        predicted.pop() if len(predicted) == 1 and len(expected) > 1 else None,
        further,
        {name: value for name, value in values.items() if name == task.metric or name in further},
    )


def with_threshold_of(validation: SplitScores, result: SplitScores, task: Task) -> SplitScores:
    """Scores of a split, held against the threshold that is chosen on validation, where the deciding metric has one.

    Args:
        validation: Of the same network.
        result: Of another split.
        task: Gives the metrics.

    Raises:
        DataError: The validation split has no sample to choose the threshold on.
    """
    if not isinstance(task.deciding, ThresholdMetric):
        return result
    threshold = task.deciding.choose_threshold(validation.scores)
    rows = {**result.further, task.metric: result.scores}
    values = dict(result.metrics)
    for metric in task.metrics:
        name = metric.info.name
        if isinstance(metric, ThresholdMetric) and name in rows:
            rows[name] = metric.with_threshold(rows[name], threshold)
            values[name] = metric.value(rows[name])
    scores = rows.pop(task.metric)
    return replace(result, scores=scores, metric=values[task.metric], further=rows, metrics=values)


def _collect_classes(outputs: Tensors, targets: Tensors, predicted: set[int], expected: set[int]) -> None:
    """Add the classes of a batch, where there is one output of logits (N, K) and one target of class numbers (N,)."""
    if len(outputs) != 1 or len(targets) != 1:
        return
    (logits,), (classes,) = outputs.values(), targets.values()
    if logits.ndim == 2 and classes.ndim == 1 and not classes.is_floating_point():
        predicted.update(logits.argmax(1).tolist())
        expected.update(classes.tolist())


def _not_finite(outputs: Tensors) -> Tensor:
    """Which samples have an output that is NaN or infinite, bool (N,)."""
    each = [(~values.isfinite()).reshape(len(values), -1).any(1) for values in outputs.values() if values.is_floating_point()]
    return torch.stack(each).any(0)
