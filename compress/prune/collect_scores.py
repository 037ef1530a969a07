"""Importance scores for one pruning step, computed on training batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.registry import lookup
from compress.core.stage import Context
from compress.prune.criteria import Importance, ScoringData
from compress.prune.criteria.base import channel_scores
from compress.prune.graph_types import Group
from compress.prune.unstructured.weights import prunable
from compress.train.distributed import resolve_device

if TYPE_CHECKING:
    from compress.prune.stage import Prune


@dataclass(eq=False)
class Scores:
    """Scores for one pruning step.

    Attributes:
        importance: Its data is collected.
        unscored: Root layers of the groups for which it has no score.
    """

    importance: Importance
    unscored: set[str] = field(default_factory=set)

    def notes(self, name: str) -> tuple[Fact, ...]:
        """The layers that are not pruned because the importance of this name has no score for them."""
        return (Fact.of("prune.unscored_channels", name, layers=tuple(sorted(self.unscored))),) if self.unscored else ()


@dataclass(frozen=True, eq=False)
class Scorer:
    """Computes the scores that a stage asks for.

    Attributes:
        stage: Settings.
        context: Training batches, task, seed, device.
        protected: Names of modules that are not pruned.
        layer_ms: Milliseconds of each layer for `cost_aware: latency`, else None.
    """

    stage: Prune
    context: Context
    protected: frozenset[str]
    layer_ms: Mapping[str, float] | None

    def score(self, module: nn.Module, *, k: int, removed: float, batches: int) -> Scores:
        """Scores of a network before step k.

        Args:
            module: The network. Its weights and buffers are not changed; its gradients are.
            k: Number of the step; the batches and random scores depend on it.
            removed: Fraction that is removed after the step.
            batches: Number of training batches.
        """
        stage, context = self.stage, self.context
        importance: Importance = lookup("importance", stage.importance).load()(context.seed + k)
        order = context.data.train.epoch(k, stage.recover.batch_size, context.seed + k)
        data = ScoringData(
            tuple(islice(order, batches)),
            context.task,
            device=resolve_device(context.device),
            removed=removed,
            prunable=tuple(prunable(module, self.protected)),
        )
        importance.collect(module, data)
        return _record_unscored(replace(importance, times=self.layer_ms))


def _record_unscored(importance: Importance) -> Scores:
    scores = Scores(importance)

    def channels(root: str, group: Group) -> Tensor | None:
        values = channel_scores(importance, root, group)
        if values is None:
            scores.unscored.add(root)
        return values

    scores.importance = replace(importance, channels=channels)
    return scores
