"""One layer at a time: what a network is worth when a single layer of it is pruned."""

from __future__ import annotations

import copy
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import nn

from compress.backends.run_split import run_split
from compress.core.record import Skipped
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.prune.base import Constraints
from compress.prune.criteria import Importance, ScoringData
from compress.prune.structured.channels import ChannelPruner
from compress.prune.unstructured.weights import UnstructuredPruner, prunable
from compress.train.distributed import resolve_device

if TYPE_CHECKING:
    from compress.prune.sensitivity import Sensitivity


def ready(network: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters take gradients."""
    module = copy.deepcopy(network).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module


def accuracy_of(module: nn.Module, context: Context) -> float:
    """Accuracy on the validation split."""
    return run_split(module, context.data.validation, context.task, device=resolve_device(context.device)).metric


def scan(
    stage: Sensitivity, parent: nn.Module, candidate: Candidate, context: Context, limits: Constraints
) -> tuple[list[dict[str, Any]], tuple[Skipped, ...]]:
    """Accuracy of the network with one layer pruned, for each layer and ratio: rows, and the layers left out.

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
    rows = []
    with context.reporter.bar("sensitivity", pruner.prunable_layers * len(stage.ratios)) as bar:
        for layer, ratio, module in pruner.prune_single_layers(parent, stage.ratios, importance):
            rows.append({"layer": layer, "ratio": round(ratio, 6), "accuracy": accuracy_of(module, context)})
            bar.advance(note=f"{layer} without {ratio:.0%}: {rows[-1]['accuracy']:.3f}")
    return rows, pruner.skipped
