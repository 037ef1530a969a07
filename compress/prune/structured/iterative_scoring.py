"""A pruning step in several rounds, each with scores of the network after the round before.

    c_i = c_0 · (c / c_0)^(i / R),   i = 1 … R

c_0 is the cost before the step, c the cost to reach. Each of several redundant channels has a low score, although together they
are important; scores that are computed once do not show this. MobileNetV2 pruned to a quarter of its cost in one round is at
chance level; after eight rounds its accuracy before training is 25 %. Liu et al. 2021 (arXiv:2108.00708, algorithm 1) and
Molchanov et al. 2019 (arXiv:1906.10771, section 3) compute scores again after every few channels. Batch-norm statistics are
recalibrated between rounds (Li et al. 2020, EagleEye, arXiv:2007.02491), since gradients through wrong statistics are wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from compress.prune.base import PrunedModel, Pruner
from compress.prune.collect_scores import Scores
from compress.prune.structured.channels import ChannelPruner

ROUNDS = 8


def count_scorings(pruner: Pruner, rescorings: int | None) -> int:
    """Rounds of a step: `rescorings`; if it is None, 1 where heads can be removed, else `ROUNDS`."""
    return rescorings or (1 if isinstance(pruner, ChannelPruner) and pruner.heads else ROUNDS)


def prune_iteratively(
    pruner: Pruner,
    module: nn.Module,
    fraction: float,
    *,
    rounds: int,
    score: Callable[[int, nn.Module], Scores],
    recalibrate: Callable[[nn.Module], None],
) -> tuple[PrunedModel, Scores]:
    """Prune to a fraction of the cost of the dense network.

    Args:
        pruner: The pruner; pruners of other granularities than channels run a single round.
        module: The network. Not changed except for its gradients.
        fraction: Fraction of the cost to reach.
        rounds: R; with 1, scores are computed once and batch norms are not recalibrated.
        score: (index of the round from 0, network) → scores.
        recalibrate: Recomputes batch-norm statistics in place.

    Returns:
        The result of the last round, and the last scores.
    """
    if rounds == 1 or not isinstance(pruner, ChannelPruner):
        scores = score(0, module)
        return pruner.prune(module, fraction, scores.importance), scores
    now = max(pruner.cost_fraction(module), fraction)  # a measured time may be below the target, and no round may be
    pruned, unscored = PrunedModel(module), set()
    for index in range(rounds):
        scores = score(index, pruned.module)
        unscored |= scores.unscored
        before = _size(pruned.module)
        pruned = pruner.prune(pruned.module, now * (fraction / now) ** ((index + 1) / rounds), scores.importance)
        unscored |= scores.unscored
        if _size(pruned.module) < before:
            recalibrate(pruned.module)
    return pruned, replace(scores, unscored=unscored)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
