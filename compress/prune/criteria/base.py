"""Interface of importance scores, their data, and functions that several of them share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.data.batch import Batch
from compress.prune.graph_types import ChannelScores, Group
from compress.tasks.base import Task

Layer = nn.modules.conv._ConvNd | nn.Linear
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class ScoringData:
    """Data that scores are computed from.

    Attributes:
        batches: Training batches.
        task: Defines the loss.
        device: Where to compute.
        removed: Fraction of the prunable weights to remove, for methods that prune iteratively themselves.
        prunable: Names of the weights that may be removed.
    """

    batches: Sequence[Batch]
    task: Task
    device: torch.device | str = "cpu"
    removed: float = 0.0
    prunable: Sequence[str] = ()


def _collect_nothing(module: nn.Module, data: ScoringData) -> None:
    """For scores that depend on the weights alone."""


@dataclass(frozen=True)
class Importance:
    """Scores of one kind.

    Attributes:
        channels: (root layer's name, torch-pruning group over all its channels) → scores (C,), comparable between groups:
            except for changes of the loss each is divided by its group's mean, unless the method's docstring differs. None for
            a group that the method has no scores for.
        weights: (parameter's name, parameter) → scores of the parameter's shape, at least 0.
        collect: Called once with the network to be scored, before any score; leaves weights and buffers as they are. Some
            store their result in the parameters' `.grad`.
        gates: Layer's name → ∂L/∂m for gates m on its inputs, (samples, in_channels), for methods that score heads by gates.
        loss_change: Scores estimate changes of one loss, so that a global ranking may divide them by the cost of a channel.
        times: Milliseconds of each layer by name; scores are then divided by time, not by the target's measure.
    """

    channels: ChannelScores
    weights: Callable[[str, Tensor], Tensor]
    collect: Callable[[nn.Module, ScoringData], None] = field(default=_collect_nothing)
    gates: Callable[[str], Tensor] | None = None
    loss_change: bool = False
    times: Mapping[str, float] | None = None


def refuse_weights(name: str, w: Tensor) -> Tensor:
    """For a method without scores of single weights; such recipes are refused before."""
    msg = f"{name} {tuple(w.shape)}: this importance scores channels, not single weights"
    raise TypeError(msg)


def refuse_channels(root: str, group: Group) -> Tensor | None:  # noqa: ARG001
    """For a method without scores of channels; such recipes are refused before."""
    msg = f"{root}: this importance scores single weights, not channels"
    raise TypeError(msg)


def scores_by_name(scores: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
    """Scores of single weights that `collect` put into a dictionary."""

    def weights(name: str, w: Tensor) -> Tensor:
        if name not in scores:
            msg = f"{name} {tuple(w.shape)} has no score; call collect first"
            raise ValueError(msg)
        return scores[name]

    return weights


def layers_of(group: Group) -> dict[str, Layer]:
    """Convolutions and linear layers of a torch-pruning group, by name."""
    targets = [member.dep.target for member in group]
    return {target.name.partition(" (")[0]: target.module for target in targets if isinstance(target.module, LAYERS)}


def group_scores(group: Group, score: Callable[[str, Tensor], Tensor]) -> Tensor | None:
    """Scores of single weights, added up over each channel's weights and averaged over the layers of its group.

    Args:
        group: torch-pruning's, over all channels. The layers' weights are replaced during scoring, and restored.
        score: (parameter's name, parameter) → scores of its shape.
    """
    parts = layers_of(group)
    weights = {name: part.weight.data for name, part in parts.items()}
    scores = {name: score(f"{name}.weight", part.weight) for name, part in parts.items()}
    try:
        for name, part in parts.items():
            part.weight.data = scores[name].to(weights[name].dtype)
        summed: Tensor | None = tp.importance.GroupMagnitudeImportance(p=1, target_types=list(LAYERS))(group)
    finally:
        for name, part in parts.items():
            part.weight.data = weights[name]
    return summed


def channel_scores(importance: Importance, root: str, group: Group) -> Tensor | None:
    """Scores of the channels of a group's root, (width,); None where the importance has none.

    torch-pruning sizes its sums by the first layer of the group. A layer behind a concatenation reads each channel several
    times, so its sums end in zeros that belong to no channel.

    Args:
        importance: Scores.
        root: Name of the root layer.
        group: torch-pruning's, over all channels.
    """
    scores = importance.channels(root, group)
    return None if scores is None else scores[: len(group[0].idxs)]


def working_copy(module: nn.Module, device: torch.device | str, *, batch_statistics: bool = False) -> nn.Module:
    """A copy to compute on: eval mode, all parameters require gradients and hold none.

    Args:
        module: Left as it is.
        device: Of the copy.
        batch_statistics: Batch norms use their batch's statistics, as an untrained network needs it.
    """
    work = copy.deepcopy(module).to(device).eval()
    work.zero_grad(set_to_none=True)
    for parameter in work.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    for part in work.modules():
        if batch_statistics and isinstance(part, NORMS):
            part.train()
    return work
