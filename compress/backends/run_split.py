"""Evaluate a network on a split: statistics of the metrics for each sample, and the mean loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compress.backends.runner_protocol import Array
from compress.core.statistics import chance_agreement
from compress.data.batch import Split, Tensors
from compress.tasks.metric import ThresholdMetric

if TYPE_CHECKING:
    from compress.tasks.base import Task
from compress.backends.iterate_split import Network, iterate_split

RESOLUTION = 1e-6
"""Difference of equal outputs by rounding, as a fraction of the largest."""


@dataclass(frozen=True, eq=False)
class SplitScores:
    """Scores of a network on a split.

    Attributes:
        scores: Statistics of the deciding metric for each sample: scores, (N,), if the metric is a mean, else (N, S).
        loss: Loss of the task, averaged over the samples.
        metric: Value of the deciding metric.
        not_finite: Number of samples with an output that is NaN or infinite.
        only_class: Predicted class, if it is the same for all samples although they have several classes; else None.
        further: Statistics of the other requested metrics that have a value, by name.
        metrics: Values of the deciding metric and of the metrics in `further`, by name.
        chance: Accuracy of the same answers in random order, where that of the network is not significantly better; None where
            it is, and where outputs are no classes.
        constant: Whether all of several samples have the same outputs.
        has_classes: Whether outputs are one class for each sample, so that `chance` is known.
        answers: Predicted class, true class (negative without a label), and probability of the predicted class of each sample,
            float64 (N, 3); None where samples have no single class.
    """

    scores: Array
    loss: float
    metric: float
    not_finite: int = 0
    only_class: int | None = None
    further: Mapping[str, Array] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    chance: float | None = None
    constant: bool = False
    has_classes: bool = False
    answers: Array | None = None


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
    """Evaluate a network on every sample of a split, without augmentation.

    Args:
        network: See `iterate_split`.
        split: Samples.
        task: Task with metrics and loss.
        batch_size: Samples per batch; does not affect the result.
        device: Device of a torch module.
        runtime: Runtime of a file, as in a device profile.
        every_metric: Compute all metrics of the task, not only the deciding one.

    Raises:
        DataError: The split is empty.
        ConversionError: The file cannot be loaded, or has other inputs than the data.
    """
    metrics = task.metrics if every_metric else (task.deciding,)
    statistics: dict[str, list[Array]] = {metric.info.name: [] for metric in metrics}
    loss, not_finite, constant = 0.0, 0, True
    first: Tensors = {}
    answers: list[Array] = []
    for outputs, batch in iterate_split(network, split, task, batch_size=batch_size, device=device, runtime=runtime):
        batch = batch.to("cpu")
        for name, scores_of_batch in task.scores(outputs, batch.targets, metrics).items():
            statistics[name].append(scores_of_batch.numpy())
        loss += float(task.loss(outputs, batch.targets)) * batch.size
        not_finite += int(_not_finite(outputs).sum())
        first = first or {name: values[:1].clone() for name, values in outputs.items()}
        constant = constant and all(_equal_rows(values, first[name]) for name, values in outputs.items())
        answers += _answers(outputs, batch.targets)
    rows_by_metric = {name: np.concatenate(parts) for name, parts in statistics.items()}
    values = {metric.info.name: metric.value(rows_by_metric[metric.info.name]) for metric in metrics}
    scores = rows_by_metric.pop(task.metric)
    answered = np.concatenate(answers) if answers else None
    labelled = () if answered is None else answered[answered[:, 1] >= 0, :2].astype(int).tolist()
    pairs = Counter((predicted, true) for predicted, true in labelled)
    predicted, expected = ({pair[side] for pair in pairs} for side in (0, 1))
    further = {name: rows for name, rows in rows_by_metric.items() if np.isfinite(values[name])}
    return SplitScores(
        scores,
        loss / len(scores),
        values[task.metric],
        not_finite,
        next(iter(predicted)) if len(predicted) == 1 and len(expected) > 1 else None,
        further,
        {name: value for name, value in values.items() if name == task.metric or name in further},
        chance_agreement(pairs) if pairs else None,
        constant and len(scores) > 1,
        bool(pairs),
        answered,
    )


def with_threshold_of(validation: SplitScores, result: SplitScores, task: Task) -> SplitScores:
    """Scores of a split with the threshold chosen on validation; unchanged if the deciding metric has no threshold.

    Args:
        validation: Scores of the same network on the validation split.
        result: Scores on another split.
        task: Task with the metrics.

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


def _answers(outputs: Tensors, targets: Tensors) -> list[Array]:
    """Predicted class, true class and probability of the predicted class of each sample, one array (N, 3).

    None without one output (N, K) and one target of classes (N,). The probability is 0 where it is not finite.
    """
    if len(outputs) != 1 or len(targets) != 1:
        return []
    (logits,), (classes,) = outputs.values(), targets.values()
    if logits.ndim != 2 or classes.ndim != 1 or classes.is_floating_point():
        return []
    confidence = logits.double().softmax(1).amax(1).nan_to_num(0.0)
    return [torch.stack([logits.argmax(1).double(), classes.double(), confidence], dim=1).numpy()]


def _equal_rows(values: Tensor, row: Tensor) -> bool:
    """Whether each row is this one, (1, …), but for rounding; rows of other shapes are not."""
    if values.shape[1:] != row.shape[1:]:
        return False
    reference = row[0].double()
    limit = RESOLUTION * float(reference.abs().max()) if reference.numel() else 0.0
    # One at a time: of a network that answers its input the first two differ, and a batch of maps is large.
    return all(bool(((each.double() - reference).abs() <= limit).all()) for each in values)


def _not_finite(outputs: Tensors) -> Tensor:
    """Whether each sample has an output that is NaN or infinite, bool (N,)."""
    flags = [(~values.isfinite()).reshape(len(values), -1).any(1) for values in outputs.values() if values.is_floating_point()]
    return torch.stack(flags).any(0)
