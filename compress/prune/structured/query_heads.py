"""Removal of query heads within key–value groups: of every group the same number, each group its own.

With grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245), G groups of n queries each share keys and values. Queries
are removed in sets of G, one of each group, since a runtime repeats keys and values the same number of times for all groups:

    set k = the query with the k-th lowest score of every group,   score of the set = Σ over groups

Whole groups are removed as heads, see `attention_heads`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from compress.core.language import gettext
from compress.prune.criteria import Importance
from compress.prune.structured.head_layouts import QUERIES_PER_GROUP, HeadLayout, count_queries, layout_of
from compress.prune.structured.select_channels import GroupChoice, allowed_head_counts


@dataclass(frozen=True)
class QueryChoice(GroupChoice):
    """The query heads of an attention module, counted over all groups; `root` is the layer that computes them.

    Attributes:
        order: Queries of each group, lowest score first, (G, n).
    """

    order: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))

    def lowest_channels(self, width: int) -> list[int]:
        """The query heads to remove so that `width` remain."""
        groups, queries = self.order.shape
        lowest = self.order[:, : (self.width - width) // groups] + queries * torch.arange(groups)[:, None]
        return sorted(lowest.flatten().tolist())


def query_roots(module: nn.Module) -> dict[str, str]:
    """Name of the attention module by the name of the layer of its queries, where several queries form a group."""
    return {query_layer(module, name): name for name in count_queries(module)}


def query_layer(module: nn.Module, name: str) -> str:
    """Name of the layer that computes the queries of an attention module."""
    return f"{name}.{_layout(module, name).inner[0][0].rpartition('.')[0]}"


def query_choice(module: nn.Module, name: str, importance: Importance, initial: int, max_ratio: float) -> QueryChoice | None:
    """The query heads of an attention module as a choice of a pruning step; None where the importance has no scores.

    Args:
        module: The network.
        name: Name of the attention module.
        importance: Scores.
        initial: Queries of each group before any pruning.
        max_ratio: Largest fraction of `initial` to remove.
    """
    part, layout = module.get_submodule(name), _layout(module, name)
    groups, queries = layout.count(part), layout.queries(part)
    smaller = tuple(groups * count for count in allowed_head_counts(queries, initial, max_ratio))
    scores = query_scores(module, name, importance) if smaller else None
    if scores is None:
        return None
    ascending, order = scores.sort(dim=1, stable=True)
    return QueryChoice(
        query_layer(module, name),
        ascending.sum(0),
        groups * queries,
        groups * initial,
        smaller,
        _coupled(module, name, layout),
        order,
    )


def query_scores(module: nn.Module, name: str, importance: Importance) -> Tensor | None:
    """Scores (G, n), in the terms of `attention_heads.head_scores`; None if the importance has none for heads."""
    part, layout = module.get_submodule(name), _layout(module, name)
    groups, queries = layout.count(part), layout.queries(part)
    outer, inner = layout.outer[0], layout.inner[0][0]
    layer = f"{name}.{outer.rpartition('.')[0]}"
    if importance.gates is not None:
        by_query = torch.unflatten(torch.as_tensor(importance.gates(layer)), 1, (groups, queries, -1)).sum(3)
        return by_query.square().sum(0)
    if importance.inputs is not None:
        norms = torch.unflatten(importance.inputs(layer), 0, (groups, queries, -1)).square().sum(2).sqrt()
        return (norms / norms.mean().clamp(min=1e-30)).float()
    scores = torch.zeros(groups, queries, dtype=torch.float64)
    try:
        for key, dim in ((outer, 1), (inner, 0)):
            values = importance.weights(f"{name}.{key}", part.get_parameter(key)).detach().double().transpose(0, dim)
            scores += torch.unflatten(values, 0, (groups, queries, -1)).sum((2, 3)).cpu()
    except (TypeError, ValueError):  # as for heads
        return None
    return (scores / (2 if importance.loss_change else scores.mean().clamp(min=1e-30))).float()


@torch.no_grad()
def remove_queries(module: nn.Module, name: str, indices: Sequence[int]) -> None:
    """Remove query heads in place.

    Args:
        module: The network.
        name: Name of the attention module.
        indices: Query heads to remove, counted over all groups; the same number in each group, at least one stays.

    Raises:
        ValueError: Groups would have different numbers of queries, or none.
    """
    part, layout = module.get_submodule(name), _layout(module, name)
    groups, queries = layout.count(part), layout.queries(part)
    kept = torch.tensor([head for head in range(groups * queries) if head not in set(indices)], dtype=torch.int64)
    counts = torch.bincount(kept // queries, minlength=groups)
    if len(set(counts.tolist())) != 1 or not counts[0]:
        msg = gettext(
            "{name} has {groups} key–value groups, which would keep {counts} queries; remove the same number from each, and "
            "keep at least one",
            name=name,
            groups=groups,
            counts=counts.tolist(),
        )
        raise ValueError(msg)
    for key, dim in _parameters(part, layout):
        owner, _, leaf = key.rpartition(".")
        before = part.get_parameter(key)
        value = torch.unflatten(before, dim, (groups * queries, -1)).index_select(dim, kept).flatten(dim, dim + 1)
        linear = part.get_submodule(owner)
        setattr(linear, leaf, nn.Parameter(value.clone(), requires_grad=before.requires_grad))
        if isinstance(linear, nn.Linear):
            linear.out_features, linear.in_features = linear.weight.shape
    setattr(part, QUERIES_PER_GROUP, int(counts[0]))


@torch.no_grad()
def mute_first_queries(module: nn.Module, name: str) -> None:
    """Zero the weights that read the first query of every group."""
    part, layout = module.get_submodule(name), _layout(module, name)
    weight = part.get_parameter(layout.outer[0])
    torch.unflatten(weight, 1, (layout.count(part), layout.queries(part), -1))[:, :, 0] = 0


def first_queries(module: nn.Module, name: str) -> list[int]:
    """The first query head of every group."""
    part, layout = module.get_submodule(name), _layout(module, name)
    queries = layout.queries(part)
    return [group * queries for group in range(layout.count(part))]


def query_rows(before: nn.Module, after: nn.Module) -> Iterable[dict[str, object]]:
    """Rows of the table of layers with the query heads of each attention module with key–value groups."""
    for name in count_queries(before):
        numbers = []
        for module in (before, after):
            part, layout = module.get_submodule(name), _layout(module, name)
            numbers.append(layout.count(part) * layout.queries(part))
        then, now = numbers
        columns = {"out_before": then, "out_after": now, "in_before": then, "in_after": now}
        yield {"layer": f"{name} (queries)", **columns}


def _layout(module: nn.Module, name: str) -> HeadLayout:
    layout = layout_of(module.get_submodule(name))
    if layout is None or not layout.keys:
        raise TypeError(gettext("{name} is no attention with key–value groups", name=name))
    return layout


def _parameters(part: nn.Module, layout: HeadLayout) -> list[tuple[str, int]]:
    """The parameters with entries for query heads, and the dimension of these."""
    weight = layout.inner[0][0]
    names = dict(part.named_parameters())
    rows = [key for key in (weight, weight.replace("weight", "bias")) if key in names]
    return [*((key, 0) for key in rows), (layout.outer[0], 1)]


def _coupled(module: nn.Module, name: str, layout: HeadLayout) -> tuple[tuple[str, Literal["out", "in"], float], ...]:
    """(layer, side, number of its channels that are removed with one query head)."""
    part = module.get_submodule(name)
    width = part.get_parameter(layout.outer[0]).shape[1] / (layout.count(part) * layout.queries(part))
    outer = layout.outer[0].rpartition(".")[0]
    return ((name, "out", 1.0), (query_layer(module, name), "out", width), (f"{name}.{outer}", "in", width))
