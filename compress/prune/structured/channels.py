"""Structured pruning: remove whole channels, with all coupled parameters, until a cost target is met.

Li et al. 2017, arXiv:1608.08710 (filters); Fang et al. 2023, arXiv:2301.12900 (coupled parameters). The result is an ordinary
smaller network, which is faster on any runtime.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn

from compress.backends.eval_mode import all_require_grad
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.progress import NullReporter, Reporter
from compress.core.sentences import render
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.criteria.base import channel_scores
from compress.prune.schedule_settings import TIMED
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.attention_choices import find_choices
from compress.prune.structured.equivalence import check_forward, unprunable
from compress.prune.structured.head_layouts import projections
from compress.prune.structured.layer_costs import CostFn, CostMeasure, cost, layer_costs, measure_cost, with_times
from compress.prune.structured.select_channels import (
    GroupChoice,
    Ranking,
    allowed_widths,
    bisect_min,
    cost_weighted,
    estimate_count,
    fill_budget,
    keep_one_of_each,
    lowest_channels,
    rank_blocks,
    removable_widths,
    widths_after,
)
from compress.prune.structured.skipped_layers import explain_normalisation, skipped_layers
from compress.prune.structured.tolerant_graph import build_graph
from compress.train.module_globs import check_globs, match_modules

TRIAL_WIDTHS = 3
"""Number of smaller widths that the trial of the groups alternates between."""
CLOSE = 0.97
"""Fraction of a target of time above which the search ends: measurements are not more precise, and each takes seconds."""


class ChannelPruner:
    """Prunes channels of one dense network, in any number of steps.

    Args:
        parent: The dense network, to which targets and ceilings refer. Not changed.
        spec: Its input.
        measure: Measure of the cost.
        ranking: `global` over all layers, or `local`, the same fraction in each layer.
        limits: Rounding, ceilings and protected layers.
        meter: For `latency` and `latency_ms`: (network) → its time as a fraction of the time of the dense network.
        reporter: Shows the progress of the trial of the groups.

    Raises:
        ModelError: The network cannot be traced, or none of its channels can be pruned.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: NetworkSpec,
        *,
        measure: CostMeasure,
        ranking: Ranking,
        limits: Constraints,
        meter: CostFn | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.spec, self.measure, self.ranking, self.limits = spec, measure, ranking, limits
        self.cost = meter if measure in TIMED and meter else partial(cost, spec=spec, measure=measure)
        work = copy.deepcopy(parent).eval()
        watchdog = groups.Watchdog()
        all_groups = groups.find_groups(build_graph(work, spec), work, watchdog)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)
        self.initial = {group.root: group.width for group in all_groups}
        self.protected = match_modules(work, limits.protect)
        check_globs(limits.ceilings, work)
        bound = projections(work)
        reasons: dict[str, Fact | None] = {group.root: self._reason(group, bound) for group in all_groups}
        candidates = [group for group in all_groups if not reasons[group.root]]
        picks = {group.root: self._trial_channels(group, index) for index, group in enumerate(candidates)}
        with (reporter or NullReporter()).bar(gettext("channel groups"), len(picks)) as bar:
            reasons |= unprunable(work, spec, picks, watchdog=watchdog, advance=bar.advance)
        for subset in groups.separations([group for group in candidates if not reasons[group.root]]):
            # two parts of one concatenation may pass the trial together although each of them fails alone
            subset_picks = {root: picks[root] for root in subset if not reasons[root]}
            reasons |= unprunable(work, spec, subset_picks, watchdog=watchdog)
        reasons |= explain_normalisation(work, all_groups, reasons)
        self.prunable = frozenset(root for root, reason in reasons.items() if not reason)
        self.heads = find_choices(work, spec, limits, self.protected)
        self.skipped = (*skipped_layers(work, all_groups, reasons, self.protected), *self.heads.skipped)
        if not self.prunable and not self.heads:
            listed = "; ".join(sorted({render(fact) for fact in self.skipped})) or gettext(
                "it has no convolution and no linear layer"
            )
            msg = gettext(
                "no channel of this network can be pruned: {listed}. Protect less, lower round_to or use granularity: weight",
                listed=listed,
            )
            raise ModelError(msg)

    def _reason(self, group: groups.ChannelGroup, bound: frozenset[str]) -> Fact | None:
        """Why the width of a group is fixed, without a subject; None where it can be reduced.

        Args:
            group: Coupled channels.
            bound: Names of the projections of attention.
        """
        if bound & {*group.layers}:
            return Fact.of("prune.attention_projection")
        if group.fixed_reason:
            return group.fixed_reason
        if named := sorted(self.protected & {*group.layers}):
            return Fact.of("prune.coupled_to_protected", layer=named[0])
        if group.width % group.repeats:
            return Fact.of("prune.indivisible_width", width=group.width, parts=group.repeats)
        if not self._smaller_widths(group):
            minimum = 1 - self.limits.ceiling(group.layers)
            return Fact.of("prune.no_smaller_width", width=group.width, round_to=self.limits.round_to, kept=minimum)
        return None

    def _smaller_widths(self, group: groups.ChannelGroup) -> tuple[int, ...]:
        limits, initial, max_ratio = self.limits, self.initial[group.root], self.limits.ceiling(group.layers)
        return allowed_widths(group.width, initial, repeats=group.repeats, round_to=limits.round_to, max_ratio=max_ratio)

    def _trial_channels(self, group: groups.ChannelGroup, index: int) -> list[int]:
        """Channels for the trial: consecutive ones in the first half, which reveals wrong orders and coupled halves.

        Their position and number depend on `index`: otherwise two groups that must lose the same channels would pass.
        """
        sets = group.width // group.repeats
        widths = self._smaller_widths(group)[:TRIAL_WIDTHS]
        count = min((group.width - widths[index % len(widths)]) // group.repeats, max(sets // 2, 1))
        start = index % max(sets // 2 - count + 1, 1)
        order = torch.arange(sets).roll(start)
        scores = keep_one_of_each(order.double(), group.parts)
        count = min(count, int(scores.isfinite().sum()))
        return lowest_channels(scores, count, repeats=group.repeats, width=group.width)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:
        """Prune until the cost is at most `fraction` of the cost of the dense network.

        The number of blocks to remove is estimated from the costs of the layers. The result is measured and the number
        corrected, so that no more is removed than the target needs.

        Args:
            module: The dense network or the result of an earlier step, with gradients if the importance needs them. Not
                changed.
            fraction: Fraction of the cost of the dense network, in (0, 1).
            importance: Scores.

        Raises:
            ModelError: The pruned network does not run.
        """
        target = fraction * self.dense
        if fraction >= 1 or (now := self.cost(module)) <= target:
            return PrunedModel(copy.deepcopy(module).eval())
        layers = layer_costs(module, self.spec, "params" if self.measure in ("params", "bytes") else "macs")
        choices = self._choices(module, importance)
        if importance.loss_change and self.ranking == "global":
            choices = cost_weighted(choices, layers if importance.times is None else with_times(layers, importance.times))
        blocks = rank_blocks(choices, self.ranking)
        best: tuple[float, nn.Module] | None = None

        def enough(count: int) -> bool:
            nonlocal best
            trial = self._with_widths(module, choices, widths_after(choices, blocks, count))
            trial_cost = measure_cost(self.cost, trial, target, twice=self.measure in TIMED)
            if best is None or trial_cost <= target or best[0] > target:
                best = trial_cost, trial
            return trial_cost <= target

        if blocks:
            total = sum(layer.cost for layer in layers.values())
            guess = estimate_count(choices, blocks, layers, saving=(now - target) / now * total)
            near = CLOSE * target if self.measure in TIMED else math.inf
            count = bisect_min(enough, guess, len(blocks), lambda: best is not None and near <= best[0] <= target)
            if best is not None and best[0] < target and self.measure not in TIMED:
                plan = fill_budget(choices, blocks, count, layers, spare=(target - best[0]) / now * total)
                if plan != widths_after(choices, blocks, count):
                    larger = self._with_widths(module, choices, plan)
                    if (larger_cost := self.cost(larger)) <= target:
                        best = larger_cost, larger
        reached, pruned = best or (now, copy.deepcopy(module).eval())
        return PrunedModel(pruned, notes=() if reached <= target else (self._shortfall(fraction, reached),))

    def cost_fraction(self, module: nn.Module) -> float:
        """Cost of a network as a fraction of the cost of the dense network."""
        return self.cost(module) / self.dense

    @property
    def prunable_layers(self) -> int:
        """Number of groups of channels and attention modules that can be pruned."""
        return len(self.prunable) + len(self.heads)

    def prune_single_layers(
        self, module: nn.Module, ratios: Sequence[float], importance: Importance
    ) -> Iterator[tuple[str, float, nn.Module]]:
        """Networks with a single pruned group, for each group and ratio: (root layer, removed fraction, network)."""
        choices = self._choices(module, importance)
        dense_widths = [choice.width for choice in choices]
        for index, choice in enumerate(choices):
            if not choice.smaller:
                continue
            widths = {min(choice.smaller, key=lambda w: abs(1 - w / choice.initial - ratio)) for ratio in ratios}
            for width in sorted(widths, reverse=True):
                plan = [*dense_widths[:index], width, *dense_widths[index + 1 :]]
                yield choice.root, 1 - width / choice.initial, self._with_widths(module, choices, plan)

    def _choices(self, module: nn.Module, importance: Importance) -> list[GroupChoice]:
        work = copy.deepcopy(module).eval()
        for copied, parameter in zip(work.parameters(), module.parameters(), strict=True):
            copied.grad = None if parameter.grad is None else parameter.grad.clone()
        choices = []
        for group in groups.find_groups(build_graph(work, self.spec), work):
            if group.root not in self.prunable or group.tp_group is None:
                continue
            scores = channel_scores(importance, group.root, group.tp_group)
            if scores is not None:
                sets = torch.nan_to_num(scores, nan=0.0).view(group.repeats, -1).mean(0)
                sets = keep_one_of_each(sets, group.parts)
                smaller = removable_widths(sets, self._smaller_widths(group), group.width)
                choices.append(GroupChoice(group.root, sets, group.width, self.initial[group.root], smaller, group.coupled))
        return [*choices, *self.heads.choices(work, importance)]

    def _with_widths(self, module: nn.Module, choices: Sequence[GroupChoice], plan: Sequence[int]) -> nn.Module:
        """A copy of the network with the width `plan[i]` for `choices[i]`."""
        pruned = copy.deepcopy(module).eval()
        pruned.zero_grad(set_to_none=True)
        picks = {
            choice.root: choice.lowest_channels(width)
            for choice, width in zip(choices, plan, strict=True)
            if width < choice.width
        }
        self.heads.remove(pruned, picks)
        if picks:
            with all_require_grad(pruned):  # torch-pruning replaces parameters; those of frozen names are frozen afterwards
                groups.remove_channels(pruned, build_graph(pruned, self.spec), picks)
        check_forward(pruned, self.spec)
        return pruned

    def _shortfall(self, fraction: float, reached: float) -> Fact:
        return Fact.of(
            "prune.target_not_reached",
            self.measure,
            granularity="channel",
            reached=reached / self.dense,
            asked=fraction,
            round_to=self.limits.round_to,
            skipped=len(self.skipped),
            **self.limits.describe(),
        )
