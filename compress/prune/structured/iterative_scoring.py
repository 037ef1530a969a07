"""One step's cut in several rounds, each with scores of the network that the round before it left.

    c_i = c_0 · (c / c_0)^(i / R),   i = 1 … R

c_0 is the cost before the step and c the one to reach. Of channels that do the same, each alone is worth little and all
together much, which scores that are taken once cannot tell: MobileNetV2 cut to a quarter at once answers by chance, and in
eight rounds keeps a quarter of its answers before any training. Liu et al. 2021 (arXiv:2108.00708, algorithm 1) and Molchanov
et al. 2019 (arXiv:1906.10771, section 3) take scores anew after every few channels. Between rounds batch norms count their
statistics anew (Li et al. 2020, EagleEye, arXiv:2007.02491), since gradients through wrong ones tell nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from compress.prune.base import PrunedModel, Pruner
from compress.prune.collect_scores import Scores
from compress.prune.structured.channels import ChannelPruner

ROUNDS = 8


def count_scorings(pruner: Pruner, asked: int | None) -> int:
    """Rounds of a step: as many as asked, or by the network: `ROUNDS`, and 1 where heads may go, too."""
    return asked or (1 if isinstance(pruner, ChannelPruner) and pruner.heads else ROUNDS)


def prune_iteratively(
    pruner: Pruner,
    module: nn.Module,
    fraction: float,
    *,
    rounds: int,
    score: Callable[[int, nn.Module], Scores],
    resettle: Callable[[nn.Module], None],
) -> tuple[PrunedModel, Scores]:
    """Prune to a fraction of the dense network's cost.

    Args:
        pruner: Makes the cuts; one of anything but channels makes a single one.
        module: Not changed but for its gradients.
        fraction: What is left in the end.
        rounds: R; 1 takes scores once and leaves batch norms alone.
        score: (round from 0, network) → scores.
        resettle: Counts the statistics of batch norms anew, in place.

    Returns:
        The last cut, with what was said of it, and the last scores.
    """
    if rounds == 1 or not isinstance(pruner, ChannelPruner):
        scores = score(0, module)
        return pruner.prune(module, fraction, scores.importance), scores
    now = max(pruner.cost_fraction(module), fraction)  # a clock may find less; no round goes below what is asked
    made, unscored = PrunedModel(module), set()
    for each in range(rounds):
        scores = score(each, made.module)
        unscored |= scores.unscored
        before = _size(made.module)
        made = pruner.prune(made.module, now * (fraction / now) ** ((each + 1) / rounds), scores.importance)
        unscored |= scores.unscored
        if _size(made.module) < before:
            resettle(made.module)
    return made, replace(scores, unscored=unscored)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
