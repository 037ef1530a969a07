"""Structured pruning: whole channels go, with everything that depends on them, until a cost target is met.

Li et al. 2017, arXiv:1608.08710 (filters); Fang et al. 2023, arXiv:2301.12900 (what depends on them). The result is an
ordinary smaller network: faster on any runtime.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from compress.backends.eval_mode import all_require_grad
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.progress import NullReporter, Reporter
from compress.core.record import InputSpec
from compress.core.sentences import render
from compress.models.module_globs import check_globs, match_modules
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.schedule_settings import TIMED
from compress.prune.structured import attention_heads as heads
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.equivalence import unprunable
from compress.prune.structured.layer_costs import CostFn, CostMeasure, cost, layer_costs, measure_cost, with_times
from compress.prune.structured.select_channels import (
    GroupChoice,
    Ranking,
    allowed_widths,
    bisect_min,
    cost_weighted,
    estimate_count,
    fill_budget,
    lowest_channels,
    rank_blocks,
    widths_after,
)

CLOSE = 0.97
"""Part of a target of time above which a cut that meets it will do: a clock cannot tell finer, and each look costs seconds."""


class ChannelPruner:
    """Prunes channels of one dense network, in as many cuts as wanted.

    Args:
        parent: The dense network; targets and ceilings count from it. It is not changed.
        spec: Its input.
        measure: What a target is a fraction of.
        ranking: `global` over all layers, or `local`, the same fraction in each.
        limits: Rounding, ceilings and protected layers.
        meter: For `latency` and `latency_ms`: time of a network as a fraction of the dense one's.
        reporter: Shows the progress of the trial of the groups.

    Raises:
        ModelError: It cannot be traced, or nothing in it may be pruned.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: InputSpec,
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
        found = groups.find_groups(groups.build_graph(work, spec), work, watchdog)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)
        self.initial = {group.root: group.width for group in found}
        self.protected = match_modules(work, limits.protect)
        check_globs(limits.ceilings, work)
        bound = heads.projections(work)
        reasons: dict[str, Fact | None] = {group.root: self._reason(group, bound) for group in found}
        free = [group for group in found if not reasons[group.root]]
        picks = {group.root: self._trial_channels(group, index) for index, group in enumerate(free)}
        with (reporter or NullReporter()).bar("channel groups", len(picks)) as bar:
            reasons |= unprunable(work, spec, picks, watchdog=watchdog, advance=bar.advance)
        self.prunable = frozenset(root for root, reason in reasons.items() if not reason)
        self.heads, closed = self._heads(work)
        self.skipped = (*_skips(work, found, reasons, self.protected), *closed)
        if not self.prunable and not self.heads:
            listed = "; ".join(sorted({render(fact) for fact in self.skipped})) or "it has no convolution and no linear layer"
            msg = f"no channel of this network may be pruned: {listed}. Protect less, lower round_to or use granularity: weight"
            raise ModelError(msg)

    def _reason(self, group: groups.ChannelGroup, bound: frozenset[str]) -> Fact | None:
        """Why the width of a group stays, without a subject; None where it may shrink.

        Args:
            group: Coupled channels.
            bound: Names of the projections of attention.
        """
        if group.fixed_reason:
            return group.fixed_reason
        if bound & {*group.layers}:
            return Fact.of("prune.attention_projection")
        if named := sorted(self.protected & {*group.layers}):
            return Fact.of("prune.coupled_to_protected", layer=named[0])
        if group.width % group.repeats:
            return Fact.of("prune.indivisible_width", width=group.width, parts=group.repeats)
        if not self._smaller(group):
            kept = 1 - self.limits.ceiling(group.layers)
            return Fact.of("prune.no_smaller_width", width=group.width, round_to=self.limits.round_to, kept=kept)
        return None

    def _heads(self, work: nn.Module) -> tuple[dict[str, int], tuple[Fact, ...]]:
        """Heads of the attention modules that may lose some, and the others with the reason."""
        found = heads.count_heads(work)
        reasons = {name: Fact.of("prune.heads_protected", name) for name in found if name in self.protected}
        for name, count in found.items():
            if name not in reasons and not heads.allowed_head_counts(count, count, self.limits.ceiling([name])):
                reasons[name] = Fact.of("prune.no_fewer_heads", name, heads=count, max_ratio=self.limits.ceiling([name]))
        reasons |= heads.unprunable_heads(work, self.spec, [name for name in found if name not in reasons])
        return {name: count for name, count in found.items() if name not in reasons}, tuple(reasons.values())

    def _smaller(self, group: groups.ChannelGroup) -> tuple[int, ...]:
        limits, initial = self.limits, self.initial[group.root]
        most = limits.ceiling(group.layers)
        return allowed_widths(group.width, initial, repeats=group.repeats, round_to=limits.round_to, max_ratio=most)

    def _trial_channels(self, group: groups.ChannelGroup, index: int) -> list[int]:
        """Channels for the trial: the smallest removal, spread over the width, so that a wrong order shows.

        Groups differ in their channels by `index`: two whose channels must be the same would pass together otherwise.
        """
        count = (group.width - self._smaller(group)[0]) // group.repeats
        scores = torch.rand(group.width // group.repeats, generator=torch.Generator().manual_seed(group.width)).roll(index)
        return lowest_channels(scores, count, repeats=group.repeats, width=group.width)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:
        """Prune until at most `fraction` of the dense network's cost is left.

        The plan is made from each layer's own cost; the result is measured and the plan corrected, so that the cut is the
        smallest found that meets the target.

        Args:
            module: The dense network or the result of an earlier cut, with gradients if the importance needs them. Not changed.
            fraction: Of the dense network's cost, in (0, 1).
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
            made = self._make(module, choices, widths_after(choices, blocks, count))
            left = measure_cost(self.cost, made, target, twice=self.measure in TIMED)
            if best is None or left <= target or best[0] > target:
                best = left, made
            return left <= target

        if blocks:
            total = sum(layer.cost for layer in layers.values())
            guess = estimate_count(choices, blocks, layers, saving=(now - target) / now * total)
            near = CLOSE * target if self.measure in TIMED else math.inf
            count = bisect_min(enough, guess, len(blocks), lambda: best is not None and near <= best[0] <= target)
            if best is not None and best[0] < target and self.measure not in TIMED:
                plan = fill_budget(choices, blocks, count, layers, spare=(target - best[0]) / now * total)
                if plan != widths_after(choices, blocks, count):
                    fuller = self._make(module, choices, plan)
                    if (left := self.cost(fuller)) <= target:
                        best = left, fuller
        left, made = best or (now, copy.deepcopy(module).eval())
        return PrunedModel(made, notes=() if left <= target else (self._shortfall(fraction, left),))

    def cost_fraction(self, module: nn.Module) -> float:
        """Cost of a network as a fraction of the dense one's."""
        return self.cost(module) / self.dense

    @property
    def prunable_layers(self) -> int:
        """Groups of channels and attention modules that may shrink."""
        return len(self.prunable) + len(self.heads)

    def prune_single_layers(
        self, module: nn.Module, ratios: Sequence[float], importance: Importance
    ) -> Iterator[tuple[str, float, nn.Module]]:
        """Networks in which one group alone is smaller: its root layer, the fraction gone, the network, for each ratio."""
        choices = self._choices(module, importance)
        whole = [choice.width for choice in choices]
        for place, choice in enumerate(choices):
            wanted = {min(choice.smaller, key=lambda w: abs(1 - w / choice.initial - ratio)) for ratio in ratios}
            for width in sorted(wanted, reverse=True):
                plan = [*whole[:place], width, *whole[place + 1 :]]
                yield choice.root, 1 - width / choice.initial, self._make(module, choices, plan)

    def _choices(self, module: nn.Module, importance: Importance) -> list[GroupChoice]:
        work = copy.deepcopy(module).eval()
        for mine, given in zip(work.parameters(), module.parameters(), strict=True):
            mine.grad = None if given.grad is None else given.grad.clone()
        choices = []
        for group in groups.find_groups(groups.build_graph(work, self.spec), work):
            scores = importance.channels(group.root, group.tp_group) if group.root in self.prunable else None
            if scores is not None:
                sets = torch.nan_to_num(scores, nan=0.0).view(group.repeats, -1).mean(0)
                smaller = self._smaller(group)
                choices.append(GroupChoice(group.root, sets, group.width, self.initial[group.root], smaller, group.coupled))
        return [*choices, *self._head_choices(work, importance)]

    def _head_choices(self, work: nn.Module, importance: Importance) -> Iterator[GroupChoice]:
        for name, initial in self.heads.items():
            now = heads.count_heads_of(work, [name])[name]
            smaller = heads.allowed_head_counts(now, initial, self.limits.ceiling([name]))
            scores = heads.head_scores(work, name, importance) if smaller else None
            if scores is not None:
                yield GroupChoice(name, scores, now, initial, smaller, ((name, "out", 1.0),))

    def _make(self, module: nn.Module, choices: Sequence[GroupChoice], plan: Sequence[int]) -> nn.Module:
        made = copy.deepcopy(module).eval()
        made.zero_grad(set_to_none=True)
        picks = {
            choice.root: choice.lowest_channels(width)
            for choice, width in zip(choices, plan, strict=True)
            if width < choice.width
        }
        for name in self.heads.keys() & picks.keys():
            heads.remove_heads(made, name, picks.pop(name))
        if picks:
            with all_require_grad(made):  # torch-pruning makes new parameters
                groups.remove_channels(made, groups.build_graph(made, self.spec), picks)
        check_forward(made, self.spec)
        return made

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


def _skips(
    module: nn.Module, found: Sequence[groups.ChannelGroup], reasons: Mapping[str, Fact | None], protected: frozenset[str]
) -> tuple[Fact, ...]:
    """Every convolution and linear layer whose outputs stay, with the reason."""
    why = {layer: reasons[group.root] for group in found for layer in group.layers}
    why |= {layer: Fact.of("prune.protected") for layer, reason in why.items() if layer in protected and reason}
    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention):
            why[f"{name}.out_proj"] = groups.ATTENTION
    names = [name for name, part in module.named_modules() if isinstance(part, groups.LAYERS) and part.weight.numel()]
    unreached = Fact.of("prune.not_in_graph")
    return tuple(
        reason.model_copy(update={"subject": name}) for name in names if (reason := why.get(name, unreached)) is not None
    )


def check_forward(module: nn.Module, spec: InputSpec) -> None:
    """Run two samples through a pruned network.

    Raises:
        ModelError: It does not run, or its outputs changed shape; names the last module entered.
    """
    with groups.record_last_module(module) as entered, torch.no_grad():
        try:
            outputs = module(torch.ones(2, *spec.shape))
        except Exception as error:  # whatever the user's network says to its new shape
            reason = f"{type(error).__name__}: {error}"
            msg = f"the pruned network fails at {entered[0]!r} ({reason}); leave that layer alone with protect: {entered}"
            raise ModelError(msg) from error
    if tuple(outputs.shape) != (2, len(spec.classes)):
        shape, wanted = tuple(outputs.shape), (2, len(spec.classes))
        msg = f"the pruned network answers with shape {shape} in place of {wanted}; leave its output layer alone with protect"
        raise ModelError(msg)
