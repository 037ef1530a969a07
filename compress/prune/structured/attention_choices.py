"""The heads and query heads of a network as choices of a pruning step, beside its groups of channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.prune.base import Constraints
from compress.prune.criteria import Importance
from compress.prune.structured import attention_heads as heads
from compress.prune.structured import query_heads as queries
from compress.prune.structured.head_layouts import count_heads, count_queries
from compress.prune.structured.select_channels import GroupChoice, allowed_head_counts


@dataclass(frozen=True)
class AttentionChoices:
    """What can be removed of the attention modules of a network.

    Attributes:
        heads: Heads, or key–value groups, before any pruning, by attention module.
        queries: Queries of each key–value group before any pruning, by attention module.
        limits: Ceilings.
        skipped: The other modules, with reasons.
    """

    heads: Mapping[str, int]
    queries: Mapping[str, int]
    limits: Constraints
    skipped: tuple[Fact, ...]

    def __len__(self) -> int:
        """Number of choices."""
        return len(self.heads) + len(self.queries)

    def choices(self, module: nn.Module, importance: Importance) -> Iterator[GroupChoice]:
        """The choices for which the importance has scores; `module` is the dense network or a pruned one."""
        for name, initial in self.heads.items():
            now = heads.count_heads_of(module, [name])[name]
            smaller = allowed_head_counts(now, initial, self.limits.ceiling([name]))
            scores = heads.head_scores(module, name, importance) if smaller else None
            if scores is not None:
                yield GroupChoice(name, scores, now, initial, smaller, heads.coupled_layers(module, name))
        for name, initial in self.queries.items():
            choice = queries.query_choice(module, name, importance, initial, self.limits.ceiling([name]))
            if choice is not None:
                yield choice

    def remove(self, module: nn.Module, picks: dict[str, list[int]]) -> None:
        """Remove the picked heads and queries in place, and take their entries out of `picks`."""
        for name in self.queries:  # first, while the groups have their numbers
            if picked := picks.pop(queries.query_layer(module, name), None):
                queries.remove_queries(module, name, picked)
        for name in self.heads.keys() & picks.keys():
            heads.remove_heads(module, name, picks.pop(name))


def find_choices(module: nn.Module, spec: NetworkSpec, limits: Constraints, protected: frozenset[str]) -> AttentionChoices:
    """Try which heads and queries can be removed.

    Args:
        module: The dense network. Not changed.
        spec: Its input.
        limits: Ceilings.
        protected: Names of modules that are not pruned.
    """
    counts, grouped = count_heads(module), count_queries(module)
    reasons = {name: Fact.of("prune.heads_protected", name) for name in counts if name in protected}
    tried = [name for name in counts if name not in reasons]
    few = {name: _too_few(name, counts[name], limits) for name in tried if counts[name] > 1 or name not in grouped}
    reasons |= {name: fact for name, fact in few.items() if fact is not None}
    own = [name for name in few if name not in reasons]
    reasons |= heads.unprunable_heads(module, spec, own)
    query_reasons = {name: reasons[name] for name in grouped if name in protected}
    too_few = {name: _too_few(name, grouped[name], limits) for name in grouped if name not in query_reasons}
    query_reasons |= {name: fact for name, fact in too_few.items() if fact is not None}
    query_reasons |= heads.unprunable_queries(module, spec, [name for name in grouped if name not in query_reasons])
    return AttentionChoices(
        heads={name: counts[name] for name in own if name not in reasons},
        queries={name: count for name, count in grouped.items() if name not in query_reasons},
        limits=limits,
        skipped=(*reasons.values(), *(fact for name, fact in query_reasons.items() if name not in reasons)),
    )


def _too_few(name: str, count: int, limits: Constraints) -> Fact | None:
    """Why a number of heads cannot be reduced; None where it can."""
    ratio = limits.ceiling([name])
    if allowed_head_counts(count, count, ratio):
        return None
    return Fact.of("prune.no_fewer_heads", name, heads=count, max_ratio=ratio)
