"""Interface of importance scores, the data that they are computed from, and shared functions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.core.language import gettext
from compress.data.batch import Batch
from compress.prune.graph_types import ChannelScores, Group
from compress.prune.unstructured.solvers import Solve
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
        device: Device of the computation.
        removed: Fraction of the prunable weights to remove; for methods that prune iteratively while they score.
        prunable: Names of the weights that may be removed.
    """

    batches: Sequence[Batch]
    task: Task
    device: torch.device | str = "cpu"
    removed: float = 0.0
    prunable: Sequence[str] = ()


@dataclass(eq=False)
class Layerwise:
    """A rule that prunes layer by layer, each from the inputs that it has behind the pruned layers; see `layer_by_layer`.

    Attributes:
        solve: The rule.
        reconstructs: It changes the weights that stay, and no score of a whole network takes its place.
        data: Batches and task; set by `Importance.collect`.
    """

    solve: Solve
    reconstructs: bool = False
    data: ScoringData | None = None


def _collect_nothing(module: nn.Module, data: ScoringData) -> None:
    """For scores that depend on the weights alone."""


@dataclass(frozen=True)
class Importance:
    """One importance criterion.

    Attributes:
        channels: (name of the root layer, torch-pruning group over all its channels) → scores (C,), or None for a group
            without scores. Scores are comparable between groups: they are divided by the mean of their group, except for
            changes of the loss and where the docstring of a method says otherwise.
        weights: (parameter name, parameter) → scores ≥ 0 of the shape of the parameter.
        collect: Called once with the network, before any score. It does not change weights and buffers; some methods store
            their result in the `.grad` of the parameters.
        gates: Layer name → ∂L/∂m of gates m on the inputs, (samples, in_channels); for methods that score heads by gates.
        inputs: Layer name → score of each input, (in_channels,); for methods that score heads by the norm of their outputs.
        loss_change: The scores estimate changes of the loss, so a global ranking may divide them by the cost of a channel.
        layerwise: A rule in place of the scores, for pruning layer by layer; None where there is none.
        times: Milliseconds of each layer by name; the scores are then divided by time, not by the measure of the target.
    """

    channels: ChannelScores
    weights: Callable[[str, Tensor], Tensor]
    collect: Callable[[nn.Module, ScoringData], None] = field(default=_collect_nothing)
    gates: Callable[[str], Tensor] | None = None
    inputs: Callable[[str], Tensor] | None = None
    loss_change: bool = False
    layerwise: Layerwise | None = None
    times: Mapping[str, float] | None = None


def refuse_weights(name: str, w: Tensor) -> Tensor:
    """For a method without scores of single weights; validation refuses such recipes before a run."""
    msg = gettext("{name} {shape}: this importance scores channels, not single weights", name=name, shape=tuple(w.shape))
    raise TypeError(msg)


def refuse_channels(root: str, group: Group) -> Tensor | None:  # noqa: ARG001
    """For a method without scores of channels; validation refuses such recipes before a run."""
    msg = gettext("{root}: this importance scores single weights, not channels", root=root)
    raise TypeError(msg)


def scores_by_name(scores: Mapping[str, Tensor]) -> Callable[[str, Tensor], Tensor]:
    """Scores of single weights, read from the dictionary that `collect` fills."""

    def weights(name: str, w: Tensor) -> Tensor:
        if name not in scores:
            msg = gettext("{name} {shape} has no score; call collect first", name=name, shape=tuple(w.shape))
            raise ValueError(msg)
        return scores[name]

    return weights


def layers_of(group: Group) -> dict[str, Layer]:
    """Convolutions and linear layers of a torch-pruning group, by name."""
    targets = [member.dep.target for member in group]
    return {target.name.partition(" (")[0]: target.module for target in targets if isinstance(target.module, LAYERS)}


def group_scores(group: Group, score: Callable[[str, Tensor], Tensor]) -> Tensor | None:
    """Scores of channels: the sum of the scores of a channel's weights, averaged over the layers of its group.

    Args:
        group: torch-pruning group over all channels. During the call the weights of its layers are replaced by scores.
        score: (parameter name, parameter) → scores of its shape.

    Returns:
        (C,), divided by their mean; None for a group without layers.
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

    Args:
        importance: Scores.
        root: Name of the root layer.
        group: torch-pruning group over all channels.
    """
    scores = importance.channels(root, group)
    # torch-pruning sizes its sums by the first layer of the group; a layer that reads each channel of a concatenation several
    # times makes them longer, with zeros at the end that belong to no channel
    return None if scores is None else scores[: len(group[0].idxs)]


def working_copy(module: nn.Module, device: torch.device | str, *, batch_statistics: bool = False) -> nn.Module:
    """A copy for computations: in eval mode, all parameters require gradients and have none.

    Args:
        module: Not changed.
        device: Device of the copy.
        batch_statistics: Batch norms use the statistics of the batch, as an untrained network needs it.
    """
    work = copy.deepcopy(module).to(device).eval()
    work.zero_grad(set_to_none=True)
    for parameter in work.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    for part in work.modules():
        if batch_statistics and isinstance(part, NORMS):
            part.train()
    return work
