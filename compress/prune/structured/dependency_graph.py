"""Which channels hang together: torch-pruning's dependency graph, and a trial of each group before it is trusted.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900. The graph is drawn from the autograd trace, so
an operation that it does not know (a channel shuffle, a reshape into heads) may be followed wrongly. Therefore each group is
tried out on a copy: removing channels must give the same outputs as setting them to zero.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.backends.eval_mode import all_require_grad
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.record import InputSpec

Side = Literal["out", "in"]
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
ATTENTION, OUTPUT = Fact.of("prune.attention_width"), Fact.of("prune.output_layer")
"""Reasons why a group keeps its width."""
INSTEAD = "Use granularity: weight, which needs no trace, or leave this stage out"
_FLAT = (nn.Linear, nn.BatchNorm1d)
_MIXERS = (nn.LayerNorm, nn.GroupNorm)
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can only go together.

    Attributes:
        root: Name of the layer whose outputs they are.
        width: Its channels.
        layers: Names of all convolutions and linear layers whose outputs they are.
        repeats: Channels go in sets of this many: groups of grouped convolutions.
        coupled: (name, side, channels of it that go with one channel of the root) for every module.
        fixed_reason: Why the group keeps its width; None if it may shrink.
        tp_group: torch-pruning's group over all channels, for scoring.
    """

    root: str
    width: int
    layers: tuple[str, ...]
    repeats: int
    coupled: tuple[tuple[str, Side, float], ...]
    fixed_reason: Fact | None
    tp_group: Any


class _TolerantGraph(tp.DependencyGraph):  # type: ignore[misc]  # torch-pruning has no types
    """Torch-pruning's graph, with views and splits that it cannot follow made plain passages, which the trial then judges.

    Only a view that feeds a layer's features is a flattening; shuffles and attention windows are views, too, and taken for
    flattenings they are followed wrongly, slowly, or not at all. A split whose parts' sizes it did not find maps out of range,
    and the expansion inside a product of five dimensions is taken for repeated keys and divides by zero.
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
        return self

    def _trace(self, *args: Any, **kwargs: Any) -> Any:
        nodes = super()._trace(*args, **kwargs)
        for node in nodes.values():
            if node.type == tp.ops.OPTYPE.RESHAPE and not any(isinstance(out.module, _FLAT) for out in node.outputs):
                node.type = tp.ops.OPTYPE.ELEMENTWISE
        return nodes


def _repeats_nothing(dep: Any) -> bool:
    return getattr(dep.index_mapping[0], "repeat", 1) < 1


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


def build_graph(module: nn.Module, spec: InputSpec) -> Any:
    """Dependency graph of a module in eval mode.

    Raises:
        ModelError: The network cannot be run or followed; names the last module entered.
    """
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    with (
        record_last_module(module) as entered,
        all_require_grad(module),
        torch.enable_grad(),
        warnings.catch_warnings(),
    ):
        try:
            warnings.filterwarnings("ignore", "Maximum recursive depth")  # what it then cannot follow, the trial finds
            return _TolerantGraph().build_dependency(
                module, torch.ones(1, *spec.shape, dtype=dtype), forward_fn=lambda net, x: net(x), verbose=False
            )
        except Exception as error:  # any failure inside the user's network or the tracer
            msg = (
                f"the network cannot be traced for channel pruning, last module entered {entered[0]!r}: "
                f"{type(error).__name__}: {error}. {INSTEAD}"
            )
            raise ModelError(msg) from error


def find_groups(graph: Any, module: nn.Module) -> list[ChannelGroup]:
    """All groups of coupled channels, in the order of the forward pass; none is left out.

    Raises:
        ModelError: The graph cannot be followed; names the layer whose channels were followed last.
    """
    names = {part: name for name, part in module.named_modules()}
    found: list[ChannelGroup] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum recursive depth")
        try:
            found.extend(_describe(graph, names, item) for item in graph.get_all_groups(root_module_types=LAYERS))
        except Exception as error:  # torch-pruning stumbles in many ways over operations that it does not know
            after = f"after those of {found[-1].root!r}" if found else "of the first layer"
            msg = f"the dependency graph cannot be followed {after}: {_first_line(error)}. {INSTEAD}"
            raise ModelError(msg) from error
    return found


def _describe(graph: Any, names: Mapping[nn.Module, str], item: Any) -> ChannelGroup:
    root = item[0].dep.target.module
    width = graph.get_out_channels(root)
    coupled: list[tuple[str, Side, float]] = []
    fixed: Fact | None = None
    repeats, layers = 1, []
    for dep, indices in item:
        part, is_out = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
        if is_out and (not dep.target.outputs or dep.target.type == tp.ops.OPTYPE.OUTPUT):
            fixed = OUTPUT
        elif isinstance(part, nn.MultiheadAttention):
            fixed = fixed or ATTENTION
        if part not in names:
            continue
        coupled.append((names[part], "out" if is_out else "in", len(indices) / width))
        if is_out and isinstance(part, LAYERS):
            layers.append(names[part])
        repeats = max(repeats, _repeats(part))
    return ChannelGroup(names[root], width, tuple(layers), repeats, tuple(coupled), fixed, item)


def _repeats(part: nn.Module) -> int:
    if isinstance(part, nn.modules.conv._ConvNd):
        return 1 if part.groups == part.out_channels else part.groups
    return part.num_groups if isinstance(part, nn.GroupNorm) else 1


def _group(graph: Any, module: nn.Module, root: str, channels: Sequence[int]) -> Any:
    layer = module.get_submodule(root)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum recursive depth")
        return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, list(channels))


def remove_channels(module: nn.Module, graph: Any, picks: Mapping[str, Sequence[int]]) -> None:
    """Take channels out of `module` in place.

    Args:
        module: The network that `graph` was traced from.
        graph: From `build_graph`; it follows along.
        picks: Output channels to remove by root layer.

    Raises:
        ModelError: A layer would be left without channels.
    """
    for root, channels in picks.items():
        group = _group(graph, module, root, channels)
        if not graph.check_pruning_group(group):
            msg = (
                f"removing {len(channels)} channels of {root!r} would leave a layer without any; lower max_ratio or protect it"
            )
            raise ModelError(msg)
        group.prune(record_history=False)


def _zero(graph: Any, module: nn.Module, root: str, channels: Sequence[int]) -> bool:
    """Set to zero what `remove_channels` would take out; False where a normalisation over channels makes the two differ."""
    exact = True
    for dep, indices in _group(graph, module, root, channels):
        part = dep.target.module
        if isinstance(part, nn.Parameter):
            _fill(part, dep.target.pruning_dim, indices)
        elif graph.is_out_channel_pruning_fn(dep.handler):
            exact = exact and not isinstance(part, _MIXERS)
            for value in (getattr(part, "weight", None), getattr(part, "bias", None)):
                _fill(value, int(getattr(part, "transposed", False) and value is not None and value.dim() > 1), indices)
    return exact


def _fill(value: Tensor | None, dim: int, indices: Sequence[int]) -> None:
    if value is not None and value.dim() and value.shape[dim] > max(indices):
        value.detach().index_fill_(dim, torch.tensor(indices), 0.0)


def check_equivalence(module: nn.Module, spec: InputSpec, picks: Mapping[str, Sequence[int]]) -> Fact | None:
    """Try a removal on a copy, in float64.

    Returns:
        What is wrong with it, without a subject; None when the pruned network runs and, where no normalisation over channels is
        concerned,
        computes what the dense one does with those channels at zero.
    """
    net = copy.deepcopy(module).double().eval()
    x = torch.randn(2, *spec.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graph = build_graph(net, spec)
    with torch.no_grad():
        before = net(x)
        try:
            zeroed = [_zero(graph, net, root, channels) for root, channels in picks.items()]
            expected = net(x)
            remove_channels(net, graph, picks)
        except ModelError:
            return Fact.of("prune.not_followed", error="removing some would leave another layer without any")
        except Exception as error:  # torch-pruning stumbles in many ways over operations that it does not know
            return Fact.of("prune.not_followed", error=_first_line(error))
        try:
            after = net(x)
        except Exception as error:  # whatever the user's network says to its new shape
            return Fact.of("prune.fails_when_smaller", error=_first_line(error))
    if after.shape != before.shape:
        return Fact.of("prune.output_shape_changes", shape=tuple(after.shape))
    wrong, effect = float((after - expected).norm()), float((before - expected).norm())
    if all(zeroed) and not wrong <= _TOLERANCE * max(effect, float(before.norm()) * 1e-3):
        return Fact.of("prune.not_equivalent")
    return None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def unprunable(module: nn.Module, spec: InputSpec, picks: Mapping[str, Sequence[int]]) -> dict[str, Fact]:
    """Roots of groups that must be left alone, with the reason: found by halving what fails together."""
    reason = check_equivalence(module, spec, picks) if picks else None
    if reason is None:
        return {}
    roots = list(picks)
    if len(roots) == 1:
        return {roots[0]: reason}
    half = len(roots) // 2
    found: dict[str, Fact] = {}
    for part in (roots[:half], roots[half:]):
        found |= unprunable(module, spec, {root: picks[root] for root in part})
    return found
