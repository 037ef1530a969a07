"""Masks of the weights that a pruning step would remove."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress.prune.criteria.base import LAYERS, Layer, channel_scores
from compress.prune.graph_types import Group
from compress.prune.unstructured.weights import WeightMasks

if TYPE_CHECKING:
    from compress.prune.base import Pruner
    from compress.prune.criteria import Importance


def predict_mask(pruner: Pruner, module: nn.Module, fraction: float, importance: Importance) -> dict[str, Tensor]:
    """True where a weight would be removed, by parameter name.

    For channels a copy is pruned in which every weight holds the number of its output channel, with the scores of the real one.

    Args:
        pruner: Prunes.
        module: Not changed.
        fraction: As for `pruner.prune`.
        importance: With its data collected.
    """
    channels: dict[str, Tensor | None] = {}
    weights: dict[str, Tensor] = {}

    def of_channels(root: str, group: Group) -> Tensor | None:
        if root not in channels:
            channels[root] = channel_scores(importance, root, group)
        return channels[root]

    def of_weights(name: str, w: Tensor) -> Tensor:
        if name not in weights:
            weights[name] = importance.weights(name, w)
        return weights[name]

    recorded = replace(importance, channels=of_channels, weights=of_weights)
    pruned = pruner.prune(module, fraction, recorded)
    if isinstance(pruned.after_step, WeightMasks):
        return dict(pruned.after_step.gone)
    numbered = copy.deepcopy(module)
    with torch.no_grad():
        for part in numbered.modules():
            if isinstance(part, LAYERS):
                part.weight.copy_(_spread(torch.arange(_outputs(part)), part))
    smaller = pruner.prune(numbered, fraction, recorded)
    return _removed_masks(module, smaller.module)


def _removed_masks(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    small = {name: part for name, part in after.named_modules() if isinstance(part, LAYERS)}
    masks = {}
    for name, part in before.named_modules():
        if isinstance(part, LAYERS):
            mask = torch.ones(_outputs(part), dtype=torch.bool)
            mask[_numbers(small[name])] = False
            masks[f"{name}.weight"] = _spread(mask, part).expand_as(part.weight).clone()
    return masks


def _numbers(part: Layer) -> Tensor:
    weight = part.weight.detach()
    by_output = weight.transpose(0, 1) if getattr(part, "transposed", False) else weight
    return by_output.flatten(1)[:, 0].round().long()


def _outputs(part: Layer) -> int:
    return part.weight.shape[1 if getattr(part, "transposed", False) else 0]


def _spread(values: Tensor, part: Layer) -> Tensor:
    """One value for each output channel, shaped to broadcast against the weight."""
    shape = [1] * part.weight.dim()
    shape[1 if getattr(part, "transposed", False) else 0] = -1
    return values.view(shape)
