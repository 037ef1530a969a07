"""Importance from the weights alone: norms, LAMP, batch-norm scales, geometric median; and random scores as control."""

from __future__ import annotations

import zlib

import torch
import torch_pruning as tp
from torch import Tensor

from compress.prune.criteria.base import LAYERS, Importance, Layer, refuse_weights
from compress.prune.graph_types import Group


def magnitude(seed: int = 0) -> Importance:  # noqa: ARG001
    """Magnitude of all weights that are coupled to a channel.

    Channel: Σ w² over its weights in each layer of its group, averaged over these layers; weight: |w|.
    Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900; Han et al. 2015, arXiv:1506.02626.
    """
    scorer = tp.importance.GroupMagnitudeImportance(p=2)
    return Importance(channels=lambda _, group: scorer(group), weights=lambda _, w: w.detach().abs())


def l1(seed: int = 0) -> Importance:  # noqa: ARG001
    """L1 norm of the filter alone: Σ |w|; weight: |w|.

    Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710.
    """
    scorer = tp.importance.GroupMagnitudeImportance(p=1, group_reduction="first")
    return Importance(channels=lambda _, group: scorer(group), weights=lambda _, w: w.detach().abs())


def l2(seed: int = 0) -> Importance:  # noqa: ARG001
    """Squared L2 norm of the filter alone: Σ w²; weight: w².

    He et al. 2018, "Soft Filter Pruning", arXiv:1808.06866.
    """
    scorer = tp.importance.GroupMagnitudeImportance(p=2, group_reduction="first")
    return Importance(channels=lambda _, group: scorer(group), weights=lambda _, w: w.detach().square())


def lamp(seed: int = 0) -> Importance:  # noqa: ARG001
    """Squared magnitude, divided by the sum of all squares of the layer that are not smaller.

        score(u) = w_u² / Σ_{v: |w_v| ≥ |w_u|} w_v²

    A global ranking of these scores yields a ratio for each layer. Channel: the same of group norms. Scores are in (0, 1], and
    the largest of every layer or group is 1, so no layer is removed completely.
    Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning", arXiv:2010.07611, equation 3.
    """
    scorer = tp.importance.LAMPImportance(p=2)
    return Importance(channels=lambda _, group: scorer(group), weights=lambda _, w: lamp_scores(w))


def lamp_scores(w: Tensor) -> Tensor:
    """LAMP scores of one layer; see `lamp`.

    Args:
        w: Weight of any shape.

    Returns:
        Scores of the same shape, float64; 0 for a weight of zero.
    """
    squares = w.detach().double().square().flatten()
    ascending, order = squares.sort(stable=True)
    remaining = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.zeros_like(squares)
    scores[order] = ascending / remaining.clamp_min(torch.finfo(remaining.dtype).tiny)
    return scores.view(w.shape)


def bn_scale(seed: int = 0) -> Importance:  # noqa: ARG001
    """Mean |γ| of the batch norms of a channel; None for a group without batch norm. Not for weights.

    Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", arXiv:1708.06519. The scales must be
    trained under an L1 penalty, as with `sparse_training: {kind: slimming}`.
    """
    scorer = tp.importance.BNScaleImportance()
    return Importance(channels=lambda _, group: scorer(group), weights=refuse_weights)


def random(seed: int = 0) -> Importance:
    """Uniform random scores in (0, 1], a function of the seed and the name."""

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
        return 1 - torch.rand(shape, generator=generator)

    return Importance(
        channels=lambda name, group: draw(name, (len(group[0].idxs),)),
        weights=lambda name, w: draw(name, tuple(w.shape)),
    )


_FILTERS = (tp.prune_conv_out_channels, tp.prune_linear_out_channels)


def fpgm(seed: int = 0) -> Importance:  # noqa: ARG001
    """Sum of distances to all other filters of the layer, smallest near the geometric median. Not for weights.

    The distances of each layer are divided by their mean, and averaged over the layers of the group.
    He et al. 2019, "Filter Pruning via Geometric Median", arXiv:1811.00250, equation 4. (The FPGM of torch-pruning compares
    |w|² in place of w.)
    """
    return Importance(channels=lambda _, group: _group_distances(group), weights=refuse_weights)


def distances(w: Tensor) -> Tensor:
    """Σ_j ‖F_i − F_j‖₂ of each filter F_i of a layer.

    Args:
        w: Filters, (C, …).

    Returns:
        (C,), float64.
    """
    f = w.detach().double().flatten(1)
    return torch.cdist(f, f).sum(1)


def _group_distances(group: Group) -> Tensor | None:
    total: Tensor | None = None
    for member in group:
        dep, part = member.dep, member.dep.target.module
        roots = [root for root in member.root_idxs if root is not None]
        if dep.handler not in _FILTERS or not isinstance(part, LAYERS) or len(roots) < len(member.root_idxs):
            continue
        scores = distances(_filters(part)[list(member.idxs)])
        total = torch.zeros(len(group[0].idxs), dtype=torch.float64) if total is None else total
        total.index_add_(0, torch.tensor(roots), scores / scores.mean().clamp_min(torch.finfo(scores.dtype).tiny))
    return None if total is None else total / total.mean().clamp_min(torch.finfo(total.dtype).tiny)


def _filters(part: Layer) -> Tensor:
    return part.weight.transpose(0, 1) if getattr(part, "transposed", False) else part.weight
