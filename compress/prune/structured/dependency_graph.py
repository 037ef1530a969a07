"""Groups of coupled channels: torch-pruning's dependency graph, made safe for operations that it does not know.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900. The graph is built from the autograd trace, so
an operation that it does not know (a channel shuffle, a reshape into heads) may be followed wrongly. Every group is therefore
tested on a copy before it is used: see `equivalence`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import nn
from torch.nn.utils import parametrize
from torch_pruning._helpers import GroupItem, _HybridIndex, to_plain_idxs, to_root_idxs
from torch_pruning.dependency import index_mapping

from compress.backends.eval_mode import all_require_grad
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.record import InputSpec

Side = Literal["out", "in"]
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
ATTENTION, OUTPUT = Fact.of("prune.attention_width"), Fact.of("prune.output_layer")
"""Reasons why a group keeps its width."""
INSTEAD = "Use granularity: weight, which needs no trace, or leave this stage out"
TRACE_SECONDS = 300.0
"""Processor time after which building groups of channels is given up; the load of the machine does not count."""
VISITS = 20
"""Visits of one group for each node of the graph after which its channels count as not followed: a recurrence has no end."""
_FLAT = (nn.Linear, nn.BatchNorm1d)


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
        tp_group: torch-pruning's group over all channels, for scoring; empty where it cannot be followed.
    """

    root: str
    width: int
    layers: tuple[str, ...]
    repeats: int
    coupled: tuple[tuple[str, Side, float], ...]
    parts: frozenset[frozenset[int]]
    fixed_reason: Fact | None
    tp_group: Any


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


class _NotFollowedError(Exception):
    """The graph gives no channels of one layer, or infinitely many."""


class _TolerantGraph(tp.DependencyGraph):  # type: ignore[misc]  # torch-pruning has no types
    """Torch-pruning's graph, with bounded groups, and with plain edges where it would follow an operation wrongly.

    A view is a flattening only if it feeds a layer's features; shuffles and attention windows are views, too, and as
    flattenings they are followed wrongly, slowly, or not at all. A split without the sizes of its parts has indices out of
    range, and the expansion inside a product of five dimensions is taken for repeated keys and divides by zero. A map of one
    channel that is broadcast over others (spatial attention) is not coupled to them.
    """

    def build_dependency(self, *args: Any, **kwargs: Any) -> Any:
        super().build_dependency(*args, **kwargs)
        for node in self.module2node.values():
            around = [dep for other in (*node.inputs, *node.outputs) for dep in other.dependencies if dep.target is node]
            near = (*node.dependencies, *around)
            lost = node.type == tp.ops.OPTYPE.SPLIT and len(node.module.offsets or ()) != len(node.outputs) + 1
            if lost or (node.type == tp.ops.OPTYPE.EXPAND and any(_repeats_nothing(dep) for dep in near)):
                node.type = tp.ops.OPTYPE.ELEMENTWISE
                for dep in near:
                    dep.index_mapping[0] = None
            if isinstance(node.module, LAYERS) and self.get_out_channels(node) == 1:
                _uncouple_broadcasts(node)
        return self

    def _trace(self, *args: Any, **kwargs: Any) -> Any:
        nodes = super()._trace(*args, **kwargs)
        for node in nodes.values():
            if node.type == tp.ops.OPTYPE.RESHAPE and not any(isinstance(out.module, _FLAT) for out in node.outputs):
                node.type = tp.ops.OPTYPE.ELEMENTWISE
        return nodes

    def get_pruning_group(self, module: nn.Module, pruning_fn: Any, idxs: Sequence[int]) -> Any:
        """As torch-pruning's, with a bound on its length and a check of the indices.

        Raises:
            _NotFollowedError: The bound is passed, or an index lies outside a layer.
        """
        index_mapping.update_index_mapping(self)
        if isinstance(module, tp.ops.TORCH_CONV) and module.groups == module.out_channels > 1:
            pruning_fn = tp.prune_depthwise_conv_out_channels
        root = self.module2node[module]
        stack = [(tp.dependency.Dependency(pruning_fn, pruning_fn, source=root, target=root), _hybrid(idxs))]
        members, seen = list(stack), set()
        limit = VISITS * len(self.module2node) + 100
        while stack:
            source, indices = stack.pop()
            for dep in source.target.dependencies:
                if not dep.is_triggered_by(source.handler):
                    continue
                mapped = indices
                for mapping in dep.index_mapping:
                    mapped = mapped if mapping is None else mapping(mapped)
                key = (id(dep.target), dep.handler, tuple(mapped))
                if not mapped or key in seen:
                    continue
                self._check_range(dep, mapped)
                seen.add(key)
                members.append((dep, mapped))
                stack.append((dep, mapped))
                if len(members) > limit:
                    raise _NotFollowedError("they have no end, as in a recurrence")
        return self._merge(members)

    def _check_range(self, dep: Any, indices: Sequence[_HybridIndex]) -> None:
        if not isinstance(dep.target.module, (*LAYERS, nn.modules.batchnorm._BatchNorm)):
            return
        is_out = self.is_out_channel_pruning_fn(dep.handler)
        width = (self.get_out_channels if is_out else self.get_in_channels)(dep.target)
        if not all(0 <= index.idx < width for index in indices):
            msg = f"they lie outside {self._module2name[dep.target.module]!r}"
            raise _NotFollowedError(msg)

    def _merge(self, members: Sequence[tuple[Any, Any]]) -> Any:
        group = tp.dependency.Group()
        for dep, indices in members:
            group.add_and_merge(dep, indices)
        group._DG = self
        for index, (dep, indices) in enumerate(group.items):
            item = GroupItem(dep, to_plain_idxs(indices))
            item.root_idxs = to_root_idxs(indices)
            group[index] = item
        return group


def _hybrid(indices: Sequence[int]) -> list[_HybridIndex]:
    return [_HybridIndex(idx=index, root_idx=index) for index in indices]


def _repeats_nothing(dep: Any) -> bool:
    return getattr(dep.index_mapping[0], "repeat", 1) < 1


def _uncouple_broadcasts(node: Any) -> None:
    """Remove the edges between a one-channel map and the operations that broadcast it over more channels."""
    chain, seen = [node], set()
    while chain:
        source = chain.pop()
        seen.add(source)
        for target in source.outputs:
            if target.type != tp.ops.OPTYPE.ELEMENTWISE or target in seen:
                continue
            if _elements(target) > _elements(source):
                source.dependencies = [dep for dep in source.dependencies if dep.target is not target]
                target.dependencies = [dep for dep in target.dependencies if dep.target is not source]
            else:
                chain.append(target)


def _elements(node: Any) -> int:
    """Elements of an operation's output."""
    return int(torch.Size(node.grad_fn._input_metadata[0].shape).numel())


@contextmanager
def record_last_module(module: nn.Module) -> Iterator[list[str]]:
    """While it runs, the list's one entry is the name of the module whose forward was entered last."""
    entered = ["the network itself"]
    hooks = [
        part.register_forward_pre_hook(lambda _, __, name=name: entered.__setitem__(0, name))
        for name, part in module.named_modules()
        if name
    ]
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _no_depth_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum recursive depth")  # the trial judges what torch-pruning then misses
        yield


def build_graph(module: nn.Module, spec: InputSpec) -> Any:
    """Dependency graph of a module in eval mode.

    Raises:
        ModelError: The network cannot be run or followed; names the last module entered.
    """
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    with record_last_module(module) as entered, all_require_grad(module), torch.enable_grad(), _no_depth_warning():
        try:
            return _TolerantGraph().build_dependency(
                module, torch.ones(1, *spec.shape, dtype=dtype), forward_fn=lambda net, x: net(x), verbose=False
            )
        except Exception as error:  # any failure inside the user's network or the tracer
            msg = (
                f"the network cannot be traced for channel pruning, last module entered {entered[0]!r}: "
                f"{first_line(error)}. {INSTEAD}"
            )
            raise ModelError(msg) from error


def find_groups(graph: Any, module: nn.Module, watchdog: Watchdog | None = None) -> list[ChannelGroup]:
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
            groups.append(ChannelGroup(names[layer], width, (names[layer],), 1, (), frozenset(), reason, ()))
            continue
        members |= {dep.target.module for dep, _ in item if graph.is_out_channel_pruning_fn(dep.handler)}
        groups.append(_describe(graph, names, tied, item))
    return groups


def _tied_parameters(module: nn.Module) -> dict[nn.Module, str]:
    """Modules with a parameter that another module has, too, with the name of the other one."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, part in module.named_modules():
        for parameter in part.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((name, part))
    shared = [entries for entries in owners.values() if len({id(part) for _, part in entries}) > 1]
    return {part: next(other for other, rest in entries if rest is not part) for entries in shared for _, part in entries}


def _describe(graph: Any, names: Mapping[nn.Module, str], tied: Mapping[nn.Module, str], item: Any) -> ChannelGroup:
    root = item[0].dep.target.module
    width = graph.get_out_channels(root)
    coupled: list[tuple[str, Side, float]] = []
    fixed: Fact | None = None
    repeats, layers, parts = 1, [], set()
    for member in item:
        (dep, indices), roots = member, frozenset(root for root in member.root_idxs if root is not None)
        part, is_out = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
        if is_out and (not dep.target.outputs or dep.target.type == tp.ops.OPTYPE.OUTPUT):
            fixed = OUTPUT
        if part not in names:
            continue
        fixed = fixed or _fixed_reason(part, names[part], tied, is_out=is_out)
        coupled.append((names[part], "out" if is_out else "in", len(indices) / width))
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


def channels_of(graph: Any, layer: nn.Module, channels: Sequence[int]) -> Any:
    """torch-pruning's group of output channels of a layer."""
    with _no_depth_warning():
        return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, list(channels))


def remove_channels(module: nn.Module, graph: Any, picks: Mapping[str, Sequence[int]]) -> None:
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


def first_line(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
