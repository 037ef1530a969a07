"""Groups of coupled channels: torch-pruning's dependency graph, made safe for operations that it does not know.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900. The graph is built from the autograd trace, so
an operation that it does not know (a channel shuffle, a reshape into heads) may be followed wrongly. Every group is therefore
tested on a copy before it is used: see `equivalence`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch_pruning as tp
from torch import nn
from torch.nn.utils import parametrize

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.prune.graph_types import Graph, Group
from compress.prune.structured.tolerant_graph import INSTEAD, LAYERS, first_line, no_depth_warning

Side = Literal["out", "in"]
ATTENTION, OUTPUT = Fact.of("prune.attention_width"), Fact.of("prune.output_layer")
"""Reasons why a group keeps its width."""
TRACE_SECONDS = 300.0
"""Processor time after which building groups of channels is given up; the load of the machine does not count."""


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can only be removed together.

    Attributes:
        root: Name of the layer whose outputs they are.
        width: Its channels.
        layers: Names of all convolutions and linear layers whose outputs they are.
        repeats: Channels are removed in sets of this many: groups of grouped convolutions.
        coupled: (name, side, channels of it that are removed with one channel of the root) for every module.
        parts: Channels of the root that are all of the channels of another layer, as behind a concatenation: one of each stays.
        fixed_reason: Why the group keeps its width; None if it may shrink.
        tp_group: torch-pruning's group over all channels, for scoring; None where it cannot be followed.
    """

    root: str
    width: int
    layers: tuple[str, ...]
    repeats: int
    coupled: tuple[tuple[str, Side, float], ...]
    parts: frozenset[frozenset[int]]
    fixed_reason: Fact | None
    tp_group: Group | None


@dataclass
class Watchdog:
    """Ends the work on dependency graphs after a time limit.

    Attributes:
        seconds: Limit of this thread's processor time.
        deadline: Point of `time.thread_time`.
    """

    seconds: float = TRACE_SECONDS
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = time.thread_time() + self.seconds

    def check(self, layer: str) -> None:
        """Called at every layer.

        Raises:
            ModelError: The time is over; names the layer.
        """
        if time.thread_time() > self.deadline:
            limit = f"{self.seconds:.0f} s of processor time"
            msg = f"the dependency graph of the channels is not complete after {limit}, at {layer!r}. {INSTEAD}"
            raise ModelError(msg)


def find_groups(graph: Graph, module: nn.Module, watchdog: Watchdog | None = None) -> list[ChannelGroup]:
    """All groups of coupled channels; a layer whose channels cannot be followed is a group of its own with a reason.

    Raises:
        ModelError: It takes too long.
    """
    watchdog = watchdog or Watchdog()
    names = {part: name for name, part in module.named_modules()}
    tied = _tied_parameters(module)
    groups: list[ChannelGroup] = []
    members: set[nn.Module] = set()
    for layer in [part for part in graph.module2node if isinstance(part, LAYERS)]:
        if layer in members:
            continue
        watchdog.check(names[layer])
        width = graph.get_out_channels(layer)
        try:
            item = channels_of(graph, layer, range(width))
        except Exception as error:  # torch-pruning fails in many ways at operations that it does not know
            reason = Fact.of("prune.not_followed", error=first_line(error))
            groups.append(ChannelGroup(names[layer], width, (names[layer],), 1, (), frozenset(), reason, None))
            continue
        members |= {member.dep.target.module for member in item if graph.is_out_channel_pruning_fn(member.dep.handler)}
        groups.append(_describe(graph, names, tied, item))
    return groups


def separations(all_groups: Sequence[ChannelGroup]) -> list[list[str]]:
    """Subsets of the groups that share a side of a layer: each two groups are apart in one of them, either way.

    Returns:
        Roots whose number has a bit, and those whose number lacks it, for every bit.
    """
    owners: dict[tuple[str, Side], list[str]] = {}
    for group in all_groups:
        for side in {(name, side) for name, side, _ in group.coupled}:
            owners.setdefault(side, []).append(group.root)
    roots = sorted({root for sharing in owners.values() if len(sharing) > 1 for root in sharing})
    bits = range((len(roots) - 1).bit_length()) if roots else ()
    return [[root for index, root in enumerate(roots) if index >> bit & 1 == value] for bit in bits for value in (0, 1)]


def _tied_parameters(module: nn.Module) -> dict[nn.Module, str]:
    """Modules with a parameter that another module has, too, with the name of the other one."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, part in module.named_modules():
        for parameter in part.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((name, part))
    shared = [entries for entries in owners.values() if len({id(part) for _, part in entries}) > 1]
    return {part: next(other for other, rest in entries if rest is not part) for entries in shared for _, part in entries}


def _describe(graph: Graph, names: Mapping[nn.Module, str], tied: Mapping[nn.Module, str], item: Group) -> ChannelGroup:
    root = item[0].dep.target.module
    width = graph.get_out_channels(root)
    coupled: list[tuple[str, Side, float]] = []
    fixed: Fact | None = None
    repeats, layers, parts = 1, [], set()
    for member in item:
        dep, roots = member.dep, frozenset(root for root in member.root_idxs if root is not None)
        part, is_out = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
        if is_out and (not dep.target.outputs or dep.target.type == tp.ops.OPTYPE.OUTPUT):
            fixed = OUTPUT
        if part not in names:
            continue
        fixed = fixed or _fixed_reason(part, names[part], tied, is_out=is_out)
        coupled.append((names[part], "out" if is_out else "in", len(member.idxs) / width))
        if isinstance(part, LAYERS) and 0 < len(roots) < width:
            parts.add(roots)
        if is_out and isinstance(part, LAYERS):
            layers.append(names[part])
        repeats = max(repeats, _repeats(part))
    return ChannelGroup(names[root], width, tuple(layers), repeats, tuple(coupled), frozenset(parts), fixed, item)


def _fixed_reason(part: nn.Module, name: str, tied: Mapping[nn.Module, str], *, is_out: bool) -> Fact | None:
    """Why the channels of a module stay whatever the others do; None where they may be removed."""
    if isinstance(part, nn.MultiheadAttention):
        return ATTENTION
    if isinstance(part, nn.RNNBase) and is_out:
        return Fact.of("prune.recurrent_width", layer=name)
    if part in tied:
        return Fact.of("prune.tied_weights", layer=name, other=tied[part])
    weight = getattr(part, "weight", None)
    if parametrize.is_parametrized(part) or not (weight is None or isinstance(weight, nn.Parameter)):
        return Fact.of("prune.computed_weights", layer=name)
    return None


def _repeats(part: nn.Module) -> int:
    if isinstance(part, nn.modules.conv._ConvNd):
        return 1 if part.groups == part.out_channels else part.groups
    return part.num_groups if isinstance(part, nn.GroupNorm) else 1


def channels_of(graph: Graph, layer: nn.Module, channels: Sequence[int]) -> Group:
    """torch-pruning's group of output channels of a layer."""
    with no_depth_warning():
        return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, list(channels))


def remove_channels(module: nn.Module, graph: Graph, picks: Mapping[str, Sequence[int]]) -> None:
    """Remove channels of `module` in place.

    Args:
        module: The network that `graph` was traced from.
        graph: From `build_graph`; it is updated.
        picks: Output channels to remove by root layer.

    Raises:
        ModelError: A layer would be left without channels.
    """
    for root, channels in picks.items():
        group = channels_of(graph, module.get_submodule(root), channels)
        if not graph.check_pruning_group(group):
            msg = (
                f"removing {len(channels)} channels of {root!r} would leave a layer without any; lower max_ratio or protect it"
            )
            raise ModelError(msg)
        group.prune(record_history=False)
