"""Validation metric of a network with a single pruned layer, for each layer and ratio."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from torch import nn

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.prune.base import Constraints
from compress.prune.criteria import Importance, ScoringData
from compress.prune.results import validation_metric
from compress.prune.structured.channels import ChannelPruner
from compress.prune.unstructured.weights import UnstructuredPruner, prunable
from compress.train.distributed import resolve_device

if TYPE_CHECKING:
    from compress.prune.sensitivity import Sensitivity


def scan(
    stage: Sensitivity, parent: nn.Module, candidate: Candidate, context: Context, limits: Constraints
) -> tuple[list[dict[str, object]], tuple[Fact, ...]]:
    """Validation metric of the network with a single pruned layer.

    Args:
        stage: Settings.
        parent: The dense network. Not changed, except for its gradients.
        candidate: Its input specification.
        context: Data, task, device.
        limits: Rounding, ceilings and protected layers.

    Returns:
        A row for each layer and ratio; and the skipped layers.

    Raises:
        ModelError: The network cannot be traced, or has nothing to prune.
    """
    pruner: ChannelPruner | UnstructuredPruner
    if stage.granularity == "channel":
        pruner = ChannelPruner(parent, candidate.spec, measure="macs", ranking="local", limits=limits)
    else:
        pruner = UnstructuredPruner(parent, candidate.spec, measure="sparsity", ranking="local", limits=limits)
    importance: Importance = lookup("importance", stage.importance).load()(context.seed)
    batches = tuple(islice(context.data.train.epoch(0, stage.batch_size, context.seed), stage.batches))
    names = tuple(prunable(parent, pruner.protected))
    importance.collect(parent, ScoringData(batches, context.task, device=resolve_device(context.device), prunable=names))
    rows, name = [], context.task.metric
    with context.reporter.bar("sensitivity", pruner.prunable_layers * len(stage.ratios)) as bar:
        for layer, ratio, module in pruner.prune_single_layers(parent, stage.ratios, importance):
            rows.append({"layer": layer, "ratio": round(ratio, 6), name: validation_metric(module, context)})
            bar.advance(note=gettext("{layer} without {ratio:.0%}: {rows:.3f}", layer=layer, ratio=ratio, rows=rows[-1][name]))
    return rows, pruner.skipped
