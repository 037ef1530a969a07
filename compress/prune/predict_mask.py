"""Prediction of the weights that a pruning step would remove."""

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
    """Masks by parameter name, True where a weight would be removed.

    For channels, every weight of a copy is set to the index of its output channel; the copy is pruned with the scores of the
    original, and its weights are then the indices of the remaining channels.

    Args:
        pruner: Pruner of the network.
        module: The network. Not changed.
        fraction: As for `pruner.prune`.
        importance: Its data is collected.

    Returns:
        Boolean masks of the shapes of the parameters.
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

    replayed = replace(importance, channels=of_channels, weights=of_weights)
    pruned = pruner.prune(module, fraction, replayed)
    if isinstance(pruned.after_step, WeightMasks):
        return dict(pruned.after_step.removals)
    indexed = copy.deepcopy(module)
    with torch.no_grad():
        for part in indexed.modules():
            if isinstance(part, LAYERS):
                part.weight.copy_(_broadcast(torch.arange(_out_channels(part)), part))
    smaller = pruner.prune(indexed, fraction, replayed)
    return _removals(module, smaller.module)


def _removals(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    layers_after = {name: part for name, part in after.named_modules() if isinstance(part, LAYERS)}
    masks = {}
    for name, part in before.named_modules():
        if isinstance(part, LAYERS):
            mask = torch.ones(_out_channels(part), dtype=torch.bool)
            mask[_channel_indices(layers_after[name])] = False
            masks[f"{name}.weight"] = _broadcast(mask, part).expand_as(part.weight).clone()
    return masks


def _channel_indices(part: Layer) -> Tensor:
    """Indices of the output channels, which the weights contain, (out_channels,)."""
    weight = part.weight.detach()
    by_output = weight.transpose(0, 1) if getattr(part, "transposed", False) else weight
    return by_output.flatten(1)[:, 0].round().long()


def _out_channels(part: Layer) -> int:
    return part.weight.shape[1 if getattr(part, "transposed", False) else 0]


def _broadcast(values: Tensor, part: Layer) -> Tensor:
    """Values (out_channels,) in a shape that broadcasts against the weight."""
    shape = [1] * part.weight.dim()
    shape[1 if getattr(part, "transposed", False) else 0] = -1
    return values.view(shape)
