"""The dependency graph of torch-pruning, made tolerant of operations that it does not know, with bounded groups.

Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv:2301.12900.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning._helpers import GroupItem, _HybridIndex, to_plain_idxs, to_root_idxs
from torch_pruning.dependency import index_mapping

from compress.backends.eval_mode import all_require_grad
from compress.core.errors import ModelError
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.prune.graph_types import Dependency, Graph, Group, HybridIndex, Node, PruningFunction
from compress.tasks.flat_outputs import all_outputs

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
ROOTS = (*LAYERS, nn.Embedding)
"""Modules whose output channels can be pruned; those of an embedding are the width of its vectors."""
INSTEAD = "Use granularity: weight, which needs no trace, or leave this stage out"
VISITS = 20
"""Limit of the members of a group, per node of the graph; beyond it the channels count as not followed, as in a recurrence."""
_FLAT = (nn.Linear, nn.BatchNorm1d)


Names = dict[nn.Parameter, str]
Unwrapped = list[tuple[nn.Parameter, int]]


class NotFollowedError(Exception):
    """The graph finds no channels coupled to those of a layer, or infinitely many."""


class _TolerantGraph(tp.DependencyGraph):  # type: ignore[misc]  # torch-pruning has no types
    """The graph of torch-pruning, with bounded groups, and with plain edges where it follows an operation wrongly.

    - A view is a flattening only if the features of a layer read it. torch-pruning treats all views as flattenings, also
      shuffles and attention windows, and follows these wrongly, slowly, or not at all.
    - A split without the sizes of its parts gives indices out of range.
    - The expansion in a matrix product with five dimensions is mistaken for repeated keys, with a division by zero.
    - A map of one channel that is broadcast over channels (spatial attention) is not coupled to these.
    """

    def build_dependency(self, *args: object, **kwargs: object) -> Graph:
        super().build_dependency(*args, **kwargs)
        for node in self.module2node.values():
            around = [dep for other in (*node.inputs, *node.outputs) for dep in other.dependencies if dep.target is node]
            near = (*node.dependencies, *around)
            has_no_sizes = node.type == tp.ops.OPTYPE.SPLIT and len(node.module.offsets or ()) != len(node.outputs) + 1
            if has_no_sizes or (node.type == tp.ops.OPTYPE.EXPAND and any(_repeats_nothing(dep) for dep in near)):
                node.type = tp.ops.OPTYPE.ELEMENTWISE
                for dep in near:
                    dep.index_mapping[0] = None
            if isinstance(node.module, LAYERS) and self.get_out_channels(node) == 1:
                _uncouple_broadcasts(node)
        return self

    def _detect_unwrapped_parameters(self, unwrapped: Sequence[tuple[nn.Parameter, int]] | None) -> tuple[Names, Unwrapped]:
        names, detected = super()._detect_unwrapped_parameters(unwrapped)
        listed = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return {**names, **{parameter: listed[id(parameter)] for parameter, _ in unwrapped or ()}}, detected

    def _trace(self, *args: object, **kwargs: object) -> dict[object, Node]:
        nodes: dict[object, Node] = super()._trace(*args, **kwargs)
        for node in nodes.values():
            if node.type == tp.ops.OPTYPE.RESHAPE and not any(isinstance(out.module, _FLAT) for out in node.outputs):
                node.type = tp.ops.OPTYPE.ELEMENTWISE
        return nodes

    def get_pruning_group(self, module: nn.Module, pruning_fn: PruningFunction, idxs: Sequence[int]) -> Group:
        """The group of torch-pruning, with a bound on its length and a check of the indices.

        Raises:
            NotFollowedError: The bound is exceeded, or an index is outside a layer.
        """
        index_mapping.update_index_mapping(self)
        if isinstance(module, tp.ops.TORCH_CONV) and module.groups == module.out_channels > 1:
            pruning_fn = tp.prune_depthwise_conv_out_channels
        root = self.module2node[module]
        stack = [(tp.dependency.Dependency(pruning_fn, pruning_fn, source=root, target=root), _hybrid(idxs))]
        members, visited = list(stack), set()
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
                if not mapped or key in visited:
                    continue
                self._check_range(dep, mapped)
                visited.add(key)
                members.append((dep, mapped))
                stack.append((dep, mapped))
                if len(members) > limit:
                    raise NotFollowedError(gettext("the group of channels is unbounded, as in a recurrence"))
        return self._merge(members)

    def _check_range(self, dep: Dependency, indices: Sequence[HybridIndex]) -> None:
        if not isinstance(dep.target.module, (*LAYERS, nn.modules.batchnorm._BatchNorm)):
            return
        is_out = self.is_out_channel_pruning_fn(dep.handler)
        width = (self.get_out_channels if is_out else self.get_in_channels)(dep.target)
        if not all(0 <= index.idx < width for index in indices):
            msg = gettext("indices are outside {module2name!r}", module2name=self._module2name[dep.target.module])
            raise NotFollowedError(msg)

    def _merge(self, members: Sequence[tuple[Dependency, Sequence[HybridIndex]]]) -> Group:
        group = tp.dependency.Group()
        for dep, indices in members:
            group.add_and_merge(dep, indices)
        group._DG = self
        for index, (dep, indices) in enumerate(group.items):
            item = GroupItem(dep, to_plain_idxs(indices))
            item.root_idxs = to_root_idxs(indices)
            group[index] = item
        merged: Group = group
        return merged


def _hybrid(indices: Sequence[int]) -> list[HybridIndex]:
    return [_HybridIndex(idx=index, root_idx=index) for index in indices]


def _repeats_nothing(dep: Dependency) -> bool:
    return getattr(dep.index_mapping[0], "repeat", 1) < 1


def _uncouple_broadcasts(node: Node) -> None:
    """Remove the edges between a one-channel map and the operations that broadcast it over more channels."""
    stack, visited = [node], set()
    while stack:
        source = stack.pop()
        visited.add(source)
        for target in source.outputs:
            if target.type != tp.ops.OPTYPE.ELEMENTWISE or target in visited:
                continue
            if _elements(target) > _elements(source):
                source.dependencies = [dep for dep in source.dependencies if dep.target is not target]
                target.dependencies = [dep for dep in target.dependencies if dep.target is not source]
            else:
                stack.append(target)


def _elements(node: Node) -> int:
    """Number of elements in the output of an operation."""
    return int(torch.Size(node.grad_fn._input_metadata[0].shape).numel())


@contextmanager
def record_last_module(module: nn.Module) -> Iterator[list[str]]:
    """In the context, the only entry of the list is the name of the module whose forward was entered last."""
    last_module = [gettext("the network itself")]
    hooks = [
        part.register_forward_pre_hook(lambda _, __, name=name: last_module.__setitem__(0, name))
        for name, part in module.named_modules()
        if name
    ]
    try:
        yield last_module
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def no_depth_warning() -> Iterator[None]:
    """Suppress the warning of torch-pruning about its recursion limit; the trial finds channels that it then misses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum recursive depth")
        yield


def build_graph(module: nn.Module, spec: NetworkSpec) -> Graph:
    """Dependency graph of a module in eval mode.

    Raises:
        ModelError: The network cannot be run or traced; the message names the last module entered.
    """
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    inputs = tuple(spec.signature.example(dtype=dtype).values())
    with record_last_module(module) as last_module, all_require_grad(module), torch.enable_grad(), no_depth_warning():
        try:
            return _TolerantGraph().build_dependency(
                module,
                inputs,
                forward_fn=all_outputs,
                unwrapped_parameters=_tables_without_call(module, inputs),
                verbose=False,
            )
        except Exception as error:  # any failure inside the user's network or the tracer
            msg = gettext(
                "the network cannot be traced for channel pruning, last module entered {last_module!r}: {error}. {instead}",
                last_module=last_module[0],
                error=first_line(error),
                instead=INSTEAD,
            )
            raise ModelError(msg) from error


@torch.no_grad()
def _tables_without_call(module: nn.Module, inputs: tuple[Tensor, ...]) -> Unwrapped:
    """Weights of the embeddings that the network does not call, as it reads their weights (DeBERTa), and their channel axis."""
    tables = {part for part in module.modules() if isinstance(part, nn.Embedding)}
    handles = [part.register_forward_pre_hook(lambda part, _: tables.discard(part)) for part in tuple(tables)]
    try:
        if tables:
            all_outputs(module, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [(part.get_parameter("weight"), 1) for part in module.modules() if part in tables]


def first_line(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
