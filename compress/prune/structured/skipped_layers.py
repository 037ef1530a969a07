"""Layers whose channels stay, with the reason of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from compress.core.fact import Fact
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.head_layouts import projections
from compress.prune.structured.tolerant_graph import ROOTS

_TORCH_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
_UNTESTED = frozenset({"prune.not_equivalent", "prune.not_followed", "prune.fails_when_smaller"})


def skipped_layers(
    module: nn.Module,
    all_groups: Sequence[groups.ChannelGroup],
    reasons: Mapping[str, Fact | None],
    protected: frozenset[str],
) -> tuple[Fact, ...]:
    """Every convolution, linear layer and embedding whose outputs are not pruned, with the reason.

    Args:
        module: The network.
        all_groups: Its groups of coupled channels.
        reasons: Why the width of a group is fixed, by root; None where it can be reduced.
        protected: Names of protected modules.
    """
    by_layer = {layer: reasons[group.root] for group in all_groups for layer in group.layers}
    by_layer |= {layer: Fact.of("prune.protected") for layer, reason in by_layer.items() if layer in protected and reason}
    by_layer |= {name: Fact.of("prune.attention_projection") for name in projections(module) - by_layer.keys()}
    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention):
            by_layer[f"{name}.out_proj"] = groups.ATTENTION
    names = [name for name, part in module.named_modules() if isinstance(part, ROOTS) and part.weight.numel()]
    not_in_graph = Fact.of("prune.not_in_graph")
    return tuple(
        reason.model_copy(update={"subject": name})
        for name in names
        if (reason := by_layer.get(name, not_in_graph)) is not None
    )


def explain_normalisation(
    module: nn.Module, all_groups: Sequence[groups.ChannelGroup], reasons: Mapping[str, Fact | None]
) -> dict[str, Fact]:
    """Reasons of the groups that fail their trial because code of the network's own normalises their channels."""
    own = {
        len(part.weight): (name, type(part).__name__)
        for name, part in module.named_modules()
        if "Norm" in type(part).__name__ and not isinstance(part, _TORCH_NORMS) and "weight" in part._parameters
    }
    failed = [group for group in all_groups if (reason := reasons[group.root]) and reason.code in _UNTESTED]
    return {
        group.root: Fact.of("prune.own_normalisation", layer=own[group.width][0], kind=own[group.width][1])
        for group in failed
        if group.width in own
    }
