"""The scores behind one cut: the importance that the stage names, with what it needs collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from compress.core.fact import Fact
from compress.core.registry import lookup
from compress.core.stage import Context
from compress.prune.criteria import Importance, ScoringData
from compress.prune.unstructured.weights import prunable
from compress.train.distributed import resolve_device

if TYPE_CHECKING:
    from compress.prune.stage import Prune


@dataclass(eq=False)
class Scores:
    """Scores for one cut.

    Attributes:
        importance: Ready to be asked.
        unscored: Root layers of the groups for which it has no score.
    """

    importance: Importance
    unscored: set[str] = field(default_factory=set)

    def notes(self, name: str) -> tuple[Fact, ...]:
        """The layers that were left alone because the importance of this name gives them no score."""
        return (Fact.of("prune.unscored_channels", name, layers=tuple(sorted(self.unscored))),) if self.unscored else ()


def compute_scores(
    stage: Prune,
    context: Context,
    module: nn.Module,
    *,
    k: int,
    removed: float,
    protected: frozenset[str],
    times: Mapping[str, float] | None,
    batches: int,
) -> Scores:
    """Scores of a network before cut k.

    Args:
        stage: Settings.
        context: Training batches, task, seed, device.
        module: Its weights and buffers are left as they are; its gradients are not.
        k: Number of the cut; the batches and random scores depend on it.
        removed: Fraction that is gone after it.
        protected: Names of modules that are left alone.
        batches: How many to look at.
        times: Milliseconds of each layer where importance counts for each of them.
    """
    importance: Importance = lookup("importance", stage.importance).load()(context.seed + k)
    order = context.data.train.epoch(k, stage.recover.batch_size, context.seed + k)
    material = ScoringData(
        tuple(islice(order, batches)),
        context.task,
        device=resolve_device(context.device),
        removed=removed,
        prunable=tuple(prunable(module, protected)),
    )
    importance.collect(module, material)
    return _watched(replace(importance, times=times))


def _watched(importance: Importance) -> Scores:
    found = Scores(importance)

    def channels(root: str, group: Any) -> Tensor | None:
        scores = importance.channels(root, group)
        if scores is None:
            found.unscored.add(root)
        return scores

    found.importance = replace(importance, channels=channels)
    return found
