"""Filters near the geometric median of their layer are the ones that the others can stand in for."""

from __future__ import annotations

from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.prune.criteria.base import LAYERS, Importance, refuse_weights

_FILTERS = (tp.prune_conv_out_channels, tp.prune_linear_out_channels)


def fpgm(seed: int = 0) -> Importance:  # noqa: ARG001
    """Distance to all other filters of the layer: least near the geometric median. Not for weights.

    He et al. 2019, "Filter Pruning via Geometric Median", arXiv:1811.00250, equation 4; averaged over the layers whose
    channels go together, each divided by its mean. (torch-pruning's own compares |w|² in place of w.)
    """
    return Importance(channels=lambda _, group: _channels(group), weights=refuse_weights)


def distances(w: Tensor) -> Tensor:
    """Σ_j ‖F_i − F_j‖₂ of each filter F_i of a layer.

    Args:
        w: One filter a row, (C, …).

    Returns:
        (C,), float64.
    """
    f = w.detach().double().flatten(1)
    return torch.cdist(f, f).sum(1)


def _channels(group: Any) -> Tensor | None:
    total: Tensor | None = None
    for place, (dep, indices) in enumerate(group):
        part = dep.target.module
        roots = group[place].root_idxs
        if dep.handler not in _FILTERS or not isinstance(part, LAYERS) or any(root is None for root in roots):
            continue
        scores = distances(_filters(part)[indices])
        total = torch.zeros(len(group[0].idxs), dtype=torch.float64) if total is None else total
        total.index_add_(0, torch.tensor(roots), scores / scores.mean().clamp_min(torch.finfo(scores.dtype).tiny))
    return None if total is None else total / total.mean().clamp_min(torch.finfo(total.dtype).tiny)


def _filters(part: nn.Module) -> Tensor:
    weight: Tensor = part.weight  # type: ignore[assignment]
    return weight.transpose(0, 1) if getattr(part, "transposed", False) else weight
