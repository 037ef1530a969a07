"""Groups of coupled channels, from the dependency graph of torch-pruning.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900. The graph is built from the autograd trace, and
may follow an unknown operation (a channel shuffle, a reshape into heads) wrongly. Every group is therefore tested on a copy
before it is used: see `equivalence`.
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
from compress.core.language import gettext
from compress.prune.graph_types import Graph, Group
from compress.prune.structured.tolerant_graph import INSTEAD, LAYERS, ROOTS, first_line, no_depth_warning

Side = Literal["out", "in"]
ATTENTION, OUTPUT = Fact.of("prune.attention_width"), Fact.of("prune.output_layer")
"""Reasons why the width of a group is fixed."""
Names = dict[nn.Module | nn.Parameter, str]
"""Names of modules, and of embeddings by their weights where the network reads these without a call."""
TRACE_SECONDS = 300.0
"""Limit of the processor time for the groups of channels, so that it does not depend on the load of the machine."""


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can only be removed together.

    Attributes:
        root: Name of the layer whose outputs the channels are.
        width: Number of channels.
        layers: Names of all convolutions, linear layers and embeddings whose outputs the channels are.
        repeats: Channels are removed in sets of this size: the number of groups of grouped convolutions.
        coupled: (name, side, number of its channels that are removed with one channel of the root) for every module.
        parts: Sets of channels of the root that are all channels of another layer, as with a concatenation; at least one of
            each set must remain.
        fixed_reason: Why the width is fixed; None if it can be reduced.
        tp_group: torch-pruning group over all channels, for scoring; None if the channels cannot be followed.
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
        seconds: Limit of the processor time of this thread.
        deadline: End, as a value of `time.thread_time`.
    """

    seconds: float = TRACE_SECONDS
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = time.thread_time() + self.seconds

    def check(self, layer: str) -> None:
        """Check the time limit; called at every layer.

        Raises:
            ModelError: The time is over; the message names the layer.
        """
        if time.thread_time() > self.deadline:
            limit = gettext("{seconds:.0f} s of processor time", seconds=self.seconds)
            msg = gettext(
                "the dependency graph of the channels is not complete after {limit}, at {layer!r}. {instead}",
                limit=limit,
                layer=layer,
                instead=INSTEAD,
            )
            raise ModelError(msg)


def find_groups(graph: Graph, module: nn.Module, watchdog: Watchdog | None = None) -> list[ChannelGroup]:
    """All groups of coupled channels.

    A layer whose channels cannot be followed is a group with a single layer and a `fixed_reason`.

    Raises:
        ModelError: The time limit is exceeded.
    """
    watchdog = watchdog or Watchdog()
    names: Names = {part: name for name, part in module.named_modules()}
    names |= {part.get_parameter("weight"): name for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    tied = _tied_parameters(module)
    groups: list[ChannelGroup] = []
    members: set[nn.Module] = set()
    for layer in _roots(graph):
        if layer in members:
            continue
        watchdog.check(names[layer])
        width = graph.get_out_channels(layer)
        try:
            tp_group = channels_of(graph, layer, range(width))
        except Exception as error:  # torch-pruning raises errors of many types at operations that it does not know
            reason = Fact.of("prune.not_followed", error=first_line(error))
            groups.append(ChannelGroup(names[layer], width, (names[layer],), 1, (), frozenset(), reason, None))
            continue
        members |= {member.dep.target.module for member in tp_group if graph.is_out_channel_pruning_fn(member.dep.handler)}
        groups.append(_describe(graph, names, tied, tp_group))
    return groups


def _roots(graph: Graph) -> list[nn.Module]:
    """Layers in the order of the graph, then embeddings, which are roots only where no layer has the same channels."""
    parts = [part for part in graph.module2node if isinstance(part, ROOTS)]
    return sorted(parts, key=lambda part: isinstance(part, nn.Embedding))


def separations(all_groups: Sequence[ChannelGroup]) -> list[list[str]]:
    """Subsets of the groups that share a side of a layer, such that for any two groups a subset contains only one of them.

    Returns:
        For every bit, the roots whose index has this bit clear, and those whose index has it set.
    """
    owners: dict[tuple[str, Side], list[str]] = {}
    for group in all_groups:
        for side in {(name, side) for name, side, _ in group.coupled}:
            owners.setdefault(side, []).append(group.root)
    roots = sorted({root for sharing in owners.values() if len(sharing) > 1 for root in sharing})
    bits = range((len(roots) - 1).bit_length()) if roots else ()
    return [[root for index, root in enumerate(roots) if index >> bit & 1 == value] for bit in bits for value in (0, 1)]


def _tied_parameters(module: nn.Module) -> dict[nn.Module, str]:
    """Modules that share a parameter with another module, with the name of the other module."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, part in module.named_modules():
        for parameter in part.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((name, part))
    shared = [entries for entries in owners.values() if len({id(part) for _, part in entries}) > 1]
    return {part: next(other for other, rest in entries if rest is not part) for entries in shared for _, part in entries}


def _tied_together(graph: Graph, tp_group: Group) -> frozenset[nn.Module]:
    """Embeddings and output layers that share a weight and lose the same columns of it.

    The vectors of an embedding, and the inputs of an output layer, are columns of their common weight.
    """
    columns: dict[nn.Module, tuple[int, ...]] = {}
    for member in tp_group:
        part, is_out = member.dep.target.module, graph.is_out_channel_pruning_fn(member.dep.handler)
        if isinstance(part, nn.Embedding if is_out else nn.Linear):
            columns[part] = tuple(member.idxs)
    tables = [part for part in columns if isinstance(part, nn.Embedding)]
    pairs = [
        {table, part}
        for table in tables
        for part in columns
        if isinstance(part, nn.Linear) and part.weight is table.weight and columns[part] == columns[table]
    ]
    return frozenset().union(*pairs)


def _describe(graph: Graph, names: Names, tied: Mapping[nn.Module, str], tp_group: Group) -> ChannelGroup:
    root = tp_group[0].dep.target.module
    width = graph.get_out_channels(root)
    together = _tied_together(graph, tp_group)
    tied = {part: other for part, other in tied.items() if part not in together}
    coupled: list[tuple[str, Side, float]] = []
    fixed: Fact | None = None
    repeats, layers, parts = 1, [], set()
    for member in tp_group:
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
        if is_out and isinstance(part, (*ROOTS, nn.Parameter)):
            layers.append(names[part])
        repeats = max(repeats, _repeats(part))
    return ChannelGroup(names[root], width, tuple(layers), repeats, tuple(coupled), frozenset(parts), fixed, tp_group)


def _fixed_reason(part: nn.Module, name: str, tied: Mapping[nn.Module, str], *, is_out: bool) -> Fact | None:
    """Why the channels of a module cannot be removed; None where they can."""
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
    """The torch-pruning group of some output channels of a layer."""
    with no_depth_warning():
        return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, list(channels))


def remove_channels(module: nn.Module, graph: Graph, picks: Mapping[str, Sequence[int]]) -> None:
    """Remove channels of `module` in place.

    Args:
        module: The network of `graph`.
        graph: As `build_graph` returns it; it is updated.
        picks: Output channels to remove, by root layer.

    Raises:
        ModelError: No channel of a layer would remain.
    """
    shared = _shared_weights(module)
    for root, channels in picks.items():
        group = channels_of(graph, module.get_submodule(root), channels)
        if not graph.check_pruning_group(group):
            reason = gettext(
                "removing {count} channels of {root!r} removes all channels of a layer", count=len(channels), root=root
            )
            msg = gettext("{reason}; lower max_ratio or protect it", reason=reason)
            raise ModelError(msg)
        group.prune(record_history=False)
    for first, *others in shared:  # torch-pruning makes a new weight for each
        for other in others:
            if other.get_parameter("weight").shape == first.get_parameter("weight").shape:
                other.weight = first.get_parameter("weight")
    for part in module.modules():
        if isinstance(part, nn.Embedding):  # its weight may have been pruned without it
            part.embedding_dim = part.weight.shape[1]


def _shared_weights(module: nn.Module) -> list[list[nn.Module]]:
    """Layers and embeddings that share a weight."""
    owners: dict[nn.Parameter, list[nn.Module]] = {}
    for part in module.modules():
        if isinstance(part, ROOTS):
            owners.setdefault(part.get_parameter("weight"), []).append(part)
    return [parts for parts in owners.values() if len(parts) > 1]
