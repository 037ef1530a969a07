"""SynFlow: pruning at initialisation without data, in many small steps, so that no layer is removed completely.

Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow", arXiv:2006.05467.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.prune.criteria.base import Importance, ScoringData, refuse_channels, scores_by_name, working_copy
from compress.tasks.flat_outputs import run_flat

ITERATIONS = 100


def synflow(seed: int = 0) -> Importance:  # noqa: ARG001
    """Synaptic saliency after 99 of 100 iterations; the pruning step itself is the last iteration. Not for channels.

    The score of a weight that an earlier iteration removed is 0; other scores are log(saliency) plus a constant, since the
    range of the saliency is larger than that of float32.
    """
    scores: dict[str, Tensor] = {}

    def collect(module: nn.Module, data: ScoringData) -> None:
        x = tuple(
            torch.ones_like(values[:1], dtype=torch.float64 if values.is_floating_point() else None, device=data.device)
            for values in data.batches[0].inputs.values()
        )
        saliency = prune_iteratively(working_copy(module, data.device).double(), x, data.removed, data.prunable)
        lowest = min(float(s[s > 0].log().min()) for s in saliency.values() if bool((s > 0).any()))
        scores.update({name: torch.where(s > 0, s.log() - lowest + 1, 0.0).float().cpu() for name, s in saliency.items()})

    return Importance(channels=refuse_channels, weights=scores_by_name(scores), collect=collect)


def prune_iteratively(
    module: nn.Module, x: tuple[Tensor, ...], removed: float, prunable: Sequence[str], *, iterations: int = ITERATIONS
) -> dict[str, Tensor]:
    """Scores of the prunable weights after iterations 1 … n − 1 of n.

        R = 1ᵀ f(x; |θ|),   score = |θ ⊙ ∂R/∂θ|,   iteration k keeps the fraction (1 − removed)^(k/n) of the weights

    The scores of every layer add up to the same R, so with small steps no layer is emptied before the others; in addition each
    layer keeps its best weight. A branch beside a residual connection may still lose its flow, since the network stays
    connected without it; the scores of this branch are then 0.

    Args:
        module: In eval mode, float64; its weights are changed.
        x: Ones, of the shape of one sample.
        removed: Final fraction removed, in [0, 1).
        prunable: Names of the weights that may be removed.
        iterations: n.

    Returns:
        Scores by name, each of the shape of its weight; 0 for removed weights.

    Raises:
        ModelError: The flow is zero or overflows.
    """
    with torch.no_grad():
        for value in module.state_dict().values():
            value.abs_()
    weights = {name: module.get_parameter(name) for name in prunable}
    total = sum(w.numel() for w in weights.values())
    scores = _scores(module, x, weights)
    for k in range(1, iterations):
        _remove(weights, scores, total - round((1 - removed) ** (k / iterations) * total))
        scores = _scores(module, x, weights)
    return scores


def _scores(module: nn.Module, x: tuple[Tensor, ...], weights: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    with torch.enable_grad():
        flow = run_flat(module, x).sum()
        gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
    scores = {
        name: torch.zeros_like(w) if g is None else (w.detach() * g).abs()
        for (name, w), g in zip(weights.items(), gradients, strict=True)
    }
    strongest = max(float(s.max()) for s in scores.values())
    if not (torch.isfinite(flow) and 0 < strongest < float("inf")):
        msg = gettext(
            "the synaptic flow of this network is {flow:g}, so synflow has no scores; use 'snip' or 'grasp'",
            flow=float(flow.detach()),
        )
        raise ModelError(msg)
    return scores


def _remove(weights: dict[str, nn.Parameter], scores: dict[str, Tensor], count: int) -> None:
    """Set the `count` lowest weights over all layers to zero, except the best of each layer."""
    if count < 1:
        return
    threshold = torch.cat([s.flatten() for s in scores.values()]).kthvalue(count).values
    with torch.no_grad():
        for name, w in weights.items():
            w.masked_fill_(scores[name] <= torch.minimum(threshold, scores[name].max() * (1 - 1e-12)), 0.0)
