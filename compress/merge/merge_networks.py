"""Merge networks, and compare the result with each of them on validation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from compress.core.entries import Row
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.record import Metrics, Quantity
from compress.core.stage import Context
from compress.merge.load_network import float_tensors, load_network
from compress.train.recalibrate_batchnorm import recalibrate_batchnorm
from compress.train.validation_scores import validation_scores

if TYPE_CHECKING:
    from compress.merge.stage import Merge


class MergedNetwork(NamedTuple):
    """A merged network, and what is recorded of it.

    Attributes:
        module: The network in eval mode.
        rows: `network`, `share` and the metric on validation, of each of the networks and of the merged one.
        results: Metric of the merged network on validation.
        warnings: A fact if one of the networks is better.
    """

    module: nn.Module
    rows: tuple[Row, ...]
    results: Metrics
    warnings: tuple[Fact, ...]


def merge_networks(stage: Merge, own: nn.Module, context: Context) -> MergedNetwork:
    """Merge the network of the stage with the others.

    Args:
        stage: Settings.
        own: The network of the stage; not changed.
        context: Data, task, teachers, seed.

    Raises:
        ModelError: See `load_network`.
    """
    networks = [own, *(load_network(source, own, context) for source in stage.networks)]
    names = (gettext("network of the stage"), *stage.networks)
    weights = [float_tensors(network) for network in networks]
    base = None if stage.base is None else float_tensors(load_network(stage.base, own, context))
    scores = [validation_scores(network, context) for network in networks]
    shares = _shares(stage, [each.loss for each in scores])
    merged = copy.deepcopy(own)
    state = merged.state_dict()
    tensors = stage.method.merge(weights, base, shares, context.seed)
    merged.load_state_dict(state | {name: tensor.to(state[name].dtype) for name, tensor in tensors.items()})
    batches = [tuple(batch.inputs.values()) for batch in context.data.train.ordered(stage.samples)][:1]
    recalibrate_batchnorm(merged.eval(), batches)
    metrics = [each.metric for each in (*scores, validation_scores(merged, context))]
    info = context.task.metric_info
    rows = tuple(
        {"network": name, "share": share, info.name: metric}
        for name, share, metric in zip((*names, gettext("merged")), (*shares, None), metrics, strict=True)
    )
    best = max(range(len(networks)), key=lambda index: info.gain(0.0, metrics[index]))
    warnings: tuple[Fact, ...] = ()
    if info.gain(metrics[best], metrics[-1]) < 0:
        warnings = (Fact.of("merge.worse_than_best", names[best], metric=info.name, merged=metrics[-1], best=metrics[best]),)
    measured = Quantity.measured(metrics[-1], info.unit, gettext("on validation"))
    return MergedNetwork(merged, rows, {f"validation_{info.name}": measured}, warnings)


def _shares(stage: Merge, losses: Sequence[float]) -> tuple[float, ...]:
    """Shares of the networks, whose sum is 1."""
    if stage.method.weighs_by_loss:
        return stage.method.shares(losses)
    given = stage.weights or (1.0,) * len(losses)
    return tuple(weight / sum(given) for weight in given)
