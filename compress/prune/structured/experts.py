"""Pruning of experts: remove the least important experts of each mixture and their columns of the router.

Each token still goes to the k remaining experts that its router prefers, whose weights sum to 1, so at least k experts stay.
Experts are ranked as `expert_scores` scores them. Lu et al. 2024, arXiv:2402.14800; Lasby et al. 2025, REAP, arXiv:2510.13999.
A token of a network of torch costs as many multiply-accumulates as before; the exported graph, which computes all experts,
gets faster.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from compress.core.entries import Row
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.models.text.experts import MixtureOfExperts, keep_experts, mixtures
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.schedule_settings import TIMED
from compress.prune.structured.equivalence import check_forward
from compress.prune.structured.expert_scores import ExpertScoring
from compress.prune.structured.layer_costs import CostFn, CostMeasure, cost, measure_cost
from compress.prune.structured.smallest_cut import smallest_cut
from compress.train.module_globs import check_globs, match_modules

Removal = tuple[str, int]
"""Name of a mixture, and the place of one of its experts."""


class ExpertPruner:
    """Prunes the experts of one dense network, in any number of steps.

    Args:
        parent: The dense network. Not changed.
        spec: Its input.
        scoring: How experts are scored.
        measure: Measure of the cost.
        ranking: `local`, the same number in each mixture, or `global`, the lowest scores of all mixtures, each divided by the
            mean of its mixture.
        limits: Largest fraction of the experts of a mixture to remove, and protected mixtures.
        meter: For `latency` and `latency_ms`: (network) → its time as a fraction of the time of the dense network.

    Raises:
        ModelError: The network has no experts, or none of them can be removed.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: NetworkSpec,
        *,
        scoring: ExpertScoring,
        measure: CostMeasure,
        limits: Constraints,
        ranking: Literal["global", "local"] = "local",
        meter: CostFn | None = None,
    ) -> None:
        self.spec, self.measure, self.ranking, self.limits, self.scoring = spec, measure, ranking, limits, scoring
        self.cost = meter if measure in TIMED and meter else partial(cost, spec=spec, measure=measure)
        self.protected = match_modules(parent, limits.protect)
        check_globs(limits.ceilings, parent)
        found = mixtures(parent)
        self.widths = {name: (len(part.experts), part.gate.in_features) for name, part in found.items()}
        self.floors = {name: self._floor(name, part) for name, part in found.items()}
        fixed = [name for name, floor in self.floors.items() if floor >= self.widths[name][0]]
        self.skipped = tuple(
            Fact.of("prune.protected", name)
            if name in self.protected
            else Fact.of("prune.no_fewer_experts", name, experts=self.widths[name][0], kept=self.floors[name])
            for name in fixed
        )
        if len(fixed) == len(found):
            msg = gettext(
                "no expert of this network can be removed: {reason}; use granularity: channel, or a network with experts, such "
                "as `decoder:` with args: {experts}",
                reason=gettext("none of its layers has more experts than stay") if found else gettext("it has no experts"),
                experts="{experts: 4}",
            )
            raise ModelError(msg)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)

    def _floor(self, name: str, part: MixtureOfExperts) -> int:
        """Number of experts of a mixture that stay."""
        count = len(part.experts)
        if name in self.protected:
            return count
        return max(part.per_token, math.ceil(count * (1 - self.limits.ceiling([name])) - 1e-9), 1)

    def rows(self, module: nn.Module) -> tuple[Row, ...]:
        """Experts of each mixture before and after."""
        return tuple(
            {
                "layer": gettext("{name} (experts)", name=name),
                "out_before": self.widths[name][0],
                "out_after": len(part.experts),
                "in_before": self.widths[name][1],
                "in_after": self.widths[name][1],
            }
            for name, part in mixtures(module).items()
        )

    def expert_rows(self, module: nn.Module) -> tuple[Row, ...]:
        """Whether each expert of the dense network was kept."""
        return tuple(
            {"layer": name, "expert": index, "kept": index in part.numbers}
            for name, part in mixtures(module).items()
            for index in range(self.widths[name][0])
        )

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:  # noqa: ARG002
        """Remove experts, smallest score first, until the cost is at most `fraction` of that of the dense network.

        Args:
            module: The dense network or the result of an earlier step. Not changed.
            fraction: Fraction of the cost of the dense network, in (0, 1].
            importance: Not used.
        """
        target = fraction * self.dense
        if fraction >= 1 or self.cost(module) <= target:
            return PrunedModel(copy.deepcopy(module).eval())
        rounds = self._rounds(module)
        reached, pruned = self.cost(module), copy.deepcopy(module).eval()
        if rounds:
            cut = smallest_cut(
                lambda count: remove_experts(module, [removal for part in rounds[:count] for removal in part]),
                lambda trial: measure_cost(self.cost, trial, target, twice=self.measure in TIMED),
                target,
                guess=len(rounds) // 2,
                most=len(rounds),
            )
            reached, pruned = cut.reached, cut.module
        check_forward(pruned, self.spec)
        return PrunedModel(pruned, notes=() if reached <= target else (self._shortfall(fraction, reached),))

    def _rounds(self, module: nn.Module) -> list[list[Removal]]:
        """What is removed, lowest scores first: a single expert at a time, or with `local` one of each mixture."""
        scores = self.scoring.scores(module)
        queues = {}
        for name, part in mixtures(module).items():
            order = scores[name].argsort(stable=True).tolist()
            queues[name] = order[: max(len(part.experts) - self.floors[name], 0)]
        if self.ranking == "local":
            depth = max(map(len, queues.values()), default=0)
            return [[(name, queue[i]) for name, queue in queues.items() if i < len(queue)] for i in range(depth)]
        relative = {name: values / _mean(values) for name, values in scores.items()}
        removals = [(name, expert) for name, queue in queues.items() for expert in queue]
        return [[removal] for removal in sorted(removals, key=lambda pair: float(relative[pair[0]][pair[1]]))]

    def _shortfall(self, fraction: float, reached: float) -> Fact:
        values = {"granularity": "expert", "reached": reached / self.dense, "asked": fraction, **self.limits.describe()}
        return Fact.of("prune.target_not_reached", self.measure, **values)


def remove_experts(module: nn.Module, removals: Sequence[Removal]) -> nn.Module:
    """A copy of a network in eval mode without some experts."""
    pruned = copy.deepcopy(module).eval()
    pruned.zero_grad(set_to_none=True)
    for name, part in mixtures(pruned).items():
        removed = {expert for owner, expert in removals if owner == name}
        if removed:
            keep_experts(part, [index for index in range(len(part.experts)) if index not in removed])
    return pruned


def _mean(scores: Tensor) -> float:
    """Mean of the finite scores, above 0."""
    finite = scores[torch.isfinite(scores)]
    return max(float(finite.mean()) if len(finite) else 1.0, 1e-30)
