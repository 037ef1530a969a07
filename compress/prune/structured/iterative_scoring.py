"""One pruning step in several rounds, each with scores of the network that the round before it left.

    c_i = c_0 · (c / c_0)^(i / R),   i = 1 … R

c_0 is the cost before the step and c the one to reach. Redundant channels each have a low score, although all of them together
are important, and scores computed once cannot show that: MobileNetV2 pruned to a quarter at once is at chance level, and after
eight rounds a quarter of its predictions are right before any training. Liu et al. 2021 (arXiv:2108.00708, algorithm 1) and
Molchanov et al. 2019 (arXiv:1906.10771, section 3) rescore after every few channels. Between rounds batch-norm statistics are
computed anew (Li et al. 2020, EagleEye, arXiv:2007.02491), since gradients through wrong statistics are meaningless.
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
    """Rounds of a step: `rescorings`, else by the network: `ROUNDS`, and 1 where heads may be removed."""
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
    """Prune to a fraction of the dense network's cost.

    Args:
        pruner: Prunes; of anything but channels in a single round.
        module: Not changed except for its gradients.
        fraction: Of the cost, left in the end.
        rounds: R; 1 computes scores once and leaves batch norms alone.
        score: (round from 0, network) → scores.
        recalibrate: Computes the statistics of batch norms anew, in place.

    Returns:
        The result of the last round, and the last scores.
    """
    if rounds == 1 or not isinstance(pruner, ChannelPruner):
        scores = score(0, module)
        return pruner.prune(module, fraction, scores.importance), scores
    now = max(pruner.cost_fraction(module), fraction)  # a measured time may be lower; no round goes below the target
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
