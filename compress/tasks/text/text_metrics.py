"""Metrics of texts beside accuracy: F1 as the mean of the classes, and correlations of classes and of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.core.network_spec import LOGITS
from compress.core.record import Metric
from compress.data.batch import TARGET, Tensors
from compress.tasks.metric import Scores
from compress.tasks.multilabel import MacroF1
from compress.tasks.regression import VALUES
from compress.tasks.text.similarity_metric import SPEARMAN

if TYPE_CHECKING:
    from torch import Tensor

PEARSON = Metric(name="pearson", label="Pearson correlation", unit="1", higher_is_better=True)
MCC = Metric(name="mcc", label="Matthews correlation", unit="1", higher_is_better=True)


class ClassMacroF1(MacroF1):
    """Mean over the classes of F1, each sample having one class; see `MacroF1` for the formula."""

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """TP, FP and FN of each sample and class, float32 (N, 3K); 0 for a sample without a label."""
        import torch
        from torch.nn import functional as F

        z, y = outputs[LOGITS], targets[TARGET]
        count = z.shape[1]
        named = F.one_hot(z.nan_to_num(0.0).argmax(1), count)
        true = F.one_hot(y.clamp(min=0), count)
        counts = torch.cat([named * true, named * (1 - true), (1 - named) * true], dim=1)
        return (counts * (y >= 0)[:, None]).float()


class MatthewsCorrelation:
    """Correlation of predicted and true classes (Matthews 1975; for K classes Gorodkin 2004).

        MCC = (c s − Σ_k p_k t_k) / √((s² − Σ_k p_k²)(s² − Σ_k t_k²))

    with s samples, c of them correct, p_k predicted as class k and t_k of class k. 0 where either has one class alone.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = MCC
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Predicted and true class of each sample, float32 (N, 2); −1 for a sample without a label."""
        import torch

        z, y = outputs[LOGITS], targets[TARGET]
        return torch.stack([z.nan_to_num(0.0).argmax(1), y.clamp(min=-1)], dim=1).float()

    def value(self, scores: Scores) -> float:
        """The correlation, in [−1, 1]."""
        return self.resampled(scores)(np.ones(len(scores), dtype=np.int64))

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The correlation as a function of how often each sample is drawn, (N,)."""
        predicted, true = scores.astype(np.int64).T
        known = true >= 0
        count = int(scores.max(initial=0)) + 1
        cell = predicted[known] * count + true[known]

        def value(times: NDArray[np.int64]) -> float:
            table = np.bincount(cell, weights=times[known], minlength=count * count).reshape(count, count)
            samples, p, t = table.sum(), table.sum(1), table.sum(0)
            spread = (samples**2 - (p**2).sum()) * (samples**2 - (t**2).sum())
            return float((np.trace(table) * samples - p @ t) / np.sqrt(spread)) if spread > 0 else 0.0

        return value


class ValueCorrelation:
    """Correlation of predicted and true values over the samples, the mean over the values.

        r = Σ (a − ā)(b − b̄) / √(Σ (a − ā)² Σ (b − b̄)²)

    of the values themselves (Pearson), or of their ranks, equal values having the mean of theirs (Spearman).

    Args:
        info: `SPEARMAN` or `PEARSON`.
    """

    is_mean: bool = False

    def __init__(self, info: Metric) -> None:
        self.info = info

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Predicted and true values of each sample, float64 (N, 2V)."""
        import torch

        return torch.cat([outputs[VALUES].double(), targets[TARGET].double()], dim=1)

    def value(self, scores: Scores) -> float:
        """The mean correlation, in [−1, 1]; NaN where all predicted or all true values are equal."""
        from scipy.stats import rankdata

        columns = rankdata(scores, axis=0) if self.info == SPEARMAN else scores.astype(np.float64)
        first, second = np.split(columns - columns.mean(axis=0), 2, axis=1)
        spread = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
        varied = spread > 0
        each = (first * second).sum(axis=0)[varied] / spread[varied]
        return float(each.mean()) if len(each) else float("nan")
