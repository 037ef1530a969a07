"""Masks of the weights to keep, from their scores: over the whole network, by layer, or by output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from compress.prune.unstructured import erk as budgets

Ranking = Literal["global", "local", "erk", "row"]


def max_removals(sizes: Mapping[str, int], max_ratio: float | Mapping[str, float]) -> dict[str, int]:
    """Largest number of weights to remove of each layer, ⌊max_ratio · n⌋; with one ratio for all layers or one for each."""
    ratios = max_ratio if isinstance(max_ratio, Mapping) else dict.fromkeys(sizes, max_ratio)
    return {name: int(ratios[name] * n + 1e-9) for name, n in sizes.items()}


def keep_masks(
    scores: Mapping[str, Tensor],
    count: int,
    *,
    ranking: Ranking,
    max_ratio: float | Mapping[str, float],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Tensor]:
    """Masks of the weights to keep when the `count` lowest are removed.

    Args:
        scores: By layer, scores of the weights (or blocks), of any shape.
        count: Removals over all layers; exactly this many, unless the ceilings allow fewer.
        ranking: `global`: lowest over all layers; `local`: the same fraction of each layer; `erk`: see `erk.erk_densities`;
            `row`: the same fraction of each output of each layer, in whole weights.
        max_ratio: Largest fraction of a layer to remove, at most 1; one for all layers or one for each.
        shapes: Shapes of the weights, for `erk`; by default those of the scores.

    Returns:
        Boolean masks of the shapes of the scores, True where a weight is kept. Ties are broken by position.
    """
    flat = {name: s.detach().flatten().float() for name, s in scores.items()}
    sizes = {name: s.numel() for name, s in flat.items()}
    ceiling = max_removals(sizes, max_ratio)
    if ranking == "global":
        eligible = [s.masked_fill(~_lowest(s, ceiling[name]), torch.inf) for name, s in flat.items()]
        lowest = _lowest(torch.cat(eligible), min(count, sum(ceiling.values())))
        removals = dict(zip(flat, torch.split(lowest, [s.numel() for s in eligible]), strict=True))
    else:
        counts = layer_counts(shapes or {name: s.shape for name, s in scores.items()}, sizes, ceiling, count, ranking)
        if ranking == "row":
            removals = {name: _lowest_of_rows(scores[name].flatten(1).float(), counts[name]) for name in flat}
        else:
            removals = {name: _lowest(s, counts[name]) for name, s in flat.items()}
    return {name: ~removals[name].view(s.shape) for name, s in scores.items()}


def layer_counts(
    shapes: Mapping[str, Sequence[int]], sizes: Mapping[str, int], ceiling: Mapping[str, int], count: int, ranking: Ranking
) -> dict[str, int]:
    """Number of removals of each layer, for every ranking but `global`.

    Args:
        shapes: Shapes of the weights.
        sizes: Number of weights, or blocks, of each layer.
        ceiling: Largest number of removals of each layer.
        count: Removals over all layers.
        ranking: As in `keep_masks`.
    """
    return budgets.share_removals(_layer_shares(shapes, sizes, ceiling, count, ranking), ceiling, count)


def _layer_shares(
    shapes: Mapping[str, Sequence[int]], sizes: Mapping[str, int], ceiling: Mapping[str, int], count: int, ranking: Ranking
) -> dict[str, float]:
    """Share of each layer in the removals, up to a common factor."""
    total = sum(sizes.values())
    if ranking in ("local", "row") or count >= total:
        return {name: float(n) for name, n in sizes.items()}
    least = {name: 1 - ceiling[name] / n for name, n in sizes.items()}
    density = budgets.erk_densities(shapes, 1 - count / total, least=least)
    return {name: (1 - density[name]) * n for name, n in sizes.items()}


def _lowest_of_rows(s: Tensor, count: int) -> Tensor:
    """Mask of the lowest entries of a matrix, the same number in each row, `count` in all up to rounding; as a vector."""
    order = s.argsort(dim=1, stable=True)[:, : round(count / len(s))]
    return torch.zeros_like(s, dtype=torch.bool).scatter_(1, order, value=True).flatten()


def _lowest(s: Tensor, count: int) -> Tensor:
    """Mask of the `count` lowest entries of a vector; of equal entries the first."""
    mask = torch.zeros(s.numel(), dtype=torch.bool)
    if count > 0:
        threshold = s.kthvalue(count).values
        mask = s < threshold
        mask[(s == threshold).nonzero().flatten()[: count - int(mask.sum())]] = True
    return mask
