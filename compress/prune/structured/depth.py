"""Depth pruning: drop whole residual blocks and transformer layers; the rest of the network stays.

A block may be dropped if its input can take the place of its output: a residual block, which passes its input on when all its
weights are zero, or a layer of a stack of transformer layers, which each read the output of the one before (with the norm after
the sum, as in BERT, such a layer is not residual). Blocks are ranked by the change of the network's outputs without them:

    I_b = ‖f(x) − f_without_b(x)‖ / ‖f(x)‖        over training samples x

Men et al. 2024, "ShortGPT", arXiv:2403.03853, score a block by its own input and output; the network's outputs are used here,
since they are cheap in vision networks. Layers of BERT: Sajjad et al. 2020, arXiv:2004.03844.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from compress.core.entries import Row
from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.network_spec import NetworkSpec
from compress.models.module_globs import check_globs, match_modules
from compress.models.pruned_attention import empty_shape, is_skipped, restore_pruned_forwards
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.schedule_settings import TIMED
from compress.prune.structured import attention_heads as heads
from compress.prune.structured.equivalence import check_forward
from compress.prune.structured.layer_costs import CostFn, CostMeasure, cost, measure_cost
from compress.tasks.flat_outputs import run_flat

_TOLERANCE = 1e-6
_LISTS = (nn.ModuleList, nn.Sequential)


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a block: its first input, a copy of it, and its first output."""

    first: Tensor
    x: Tensor
    output: Tensor


def removable_blocks(module: nn.Module, spec: NetworkSpec) -> tuple[str, ...]:
    """Names of the blocks that may be dropped, in the order of the forward pass; of nested ones the innermost."""
    calls: dict[str, list[_Call]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if inputs and isinstance(inputs[0], Tensor) and isinstance(first, Tensor):
                calls.setdefault(name, []).append(_Call(inputs[0], inputs[0].detach().clone(), first))

        return hook

    hooks = [
        part.register_forward_hook(record(name))
        for name, part in module.named_modules()
        if name and any(part.children()) and any(p.numel() for p in part.parameters())
    ]
    try:
        with torch.no_grad():
            module(*spec.signature.example(2).values())
    finally:
        for handle in hooks:
            handle.remove()
    once = {name: own[0] for name, own in calls.items() if len(own) == 1 and own[0].x.shape == own[0].output.shape}
    stacked = _transformer_layers(module, once)
    blocks = [name for name, call in once.items() if name in stacked or _passes_on(module.get_submodule(name), call.x)]
    return tuple(name for name in blocks if not any(other.startswith(f"{name}.") for other in blocks))


def _transformer_layers(module: nn.Module, calls: Mapping[str, _Call]) -> set[str]:
    """Layers with attention, of one class in one list, of which each reads the output of the one before."""
    layers: set[str] = set()
    for owner, part in module.named_modules():
        names = [f"{owner}.{child}".lstrip(".") for child in part._modules] if isinstance(part, _LISTS) else []
        for first, second in pairwise(name for name in names if name in calls):
            one, other = module.get_submodule(first), module.get_submodule(second)
            chained = calls[first].output is calls[second].first
            if chained and type(one) is type(other) and heads.attentions(one) and heads.attentions(other):
                layers |= {first, second}
    return layers


@torch.no_grad()
def _passes_on(block: nn.Module, x: Tensor) -> bool:
    """Whether a block returns its input when its weights are zero."""
    empty = copy.deepcopy(block)
    for parameter in empty.parameters():
        parameter.zero_()
    try:
        output = empty(x)
    except Exception:  # a block that needs more than one input cannot be judged alone, nor dropped
        return False
    return isinstance(output, Tensor) and bool(torch.allclose(output, x, atol=_TOLERANCE))


def drop_block(module: nn.Module, name: str, *, returns_tuple: bool = False) -> None:
    """Drop a block in place: its tensors become empty and it passes its input on.

    Args:
        module: The network.
        name: Of the block.
        returns_tuple: The block's output is a tuple that begins with a tensor; the shapes of the empty tensors record it.
    """
    block = module.get_submodule(name)
    for part in block.modules():
        for key, parameter in part.named_parameters(recurse=False):
            shape = empty_shape(parameter.dim(), returns_tuple=returns_tuple)
            setattr(part, key, nn.Parameter(parameter.new_empty(shape), parameter.requires_grad))
        for key, buffer in part.named_buffers(recurse=False):
            if buffer.dim():
                setattr(part, key, buffer.new_empty((0,) * buffer.dim()))
    restore_pruned_forwards(module)


@torch.no_grad()
def block_importance(module: nn.Module, blocks: tuple[str, ...], x: tuple[Tensor, ...]) -> dict[str, float]:
    """I_b of each block on samples x, each (N, …), in the order of the signature."""
    dense = run_flat(module, x)
    changes = {}
    for name in blocks:
        handle = module.get_submodule(name).register_forward_hook(_pass_input)
        try:
            changes[name] = float((run_flat(module, x) - dense).norm() / dense.norm().clamp(min=1e-30))
        finally:
            handle.remove()
    return changes


def _pass_input(_: nn.Module, inputs: tuple[object, ...], output: object) -> object:
    return (inputs[0],) if isinstance(output, tuple) else inputs[0]


@torch.no_grad()
def _tuple_blocks(module: nn.Module, blocks: Sequence[str], spec: NetworkSpec) -> frozenset[str]:
    """Those of the blocks whose output is a tuple."""
    names: set[str] = set()

    def record(name: str) -> Callable[..., None]:
        return lambda _, __, output: names.add(name) if isinstance(output, tuple) else None

    handles = [module.get_submodule(name).register_forward_hook(record(name)) for name in blocks]
    try:
        module(*spec.signature.example().values())
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(names)


class BlockPruner:
    """Drops blocks of one dense network, in any number of steps.

    Args:
        parent: The dense network. It is not changed.
        spec: Its input.
        samples: Training samples to judge blocks by, each (N, …), in the order of the signature.
        measure: What a target is a fraction of.
        ranking: Not used: there is one order of blocks.
        limits: Largest fraction of the blocks to drop, and protected ones.
        meter: For `latency` and `latency_ms`: time of a network as a fraction of the dense one's.

    Raises:
        ModelError: No block may be dropped.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: NetworkSpec,
        *,
        samples: tuple[Tensor, ...],
        measure: CostMeasure,
        limits: Constraints,
        ranking: Literal["global", "local"] = "global",  # noqa: ARG002
        meter: CostFn | None = None,
    ) -> None:
        self.spec, self.measure, self.samples, self.limits = spec, measure, samples, limits
        self.cost = meter if measure in TIMED and meter else partial(cost, spec=spec, measure=measure)
        self.protected = match_modules(parent, limits.protect)
        check_globs(limits.ceilings, parent)
        work = copy.deepcopy(parent).eval()
        blocks = removable_blocks(work, spec)
        self.tuples = _tuple_blocks(work, blocks, spec)
        closed = {name for name in blocks if name in self.protected or limits.ceiling([name]) == 0}
        self.prunable = tuple(name for name in blocks if name not in closed)
        self.most = int(limits.max_ratio * len(blocks) + 1e-9)
        self.skipped = (
            *(Fact.of("prune.protected", name) for name in sorted(closed)),
            Fact.of("prune.not_a_residual_block"),
        )
        if not self.prunable or not self.most:
            missing = "it has no residual block and no stack of transformer layers whose removal keeps shapes"
            reason = "all its blocks are protected" if closed else missing
            msg = f"no block of this network may be dropped: {reason}; use granularity: channel, or protect less"
            raise ModelError(msg)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)
        self.sizes = {name: sum(p.numel() for p in parent.get_submodule(name).parameters()) for name in self.prunable}

    def rows(self, module: nn.Module) -> tuple[Row, ...]:
        """The dropped blocks of a network, with the parameters of each."""
        dropped = [name for name in self.prunable if is_skipped(module.get_submodule(name))]
        return tuple({"block": name, "parameters": self.sizes[name]} for name in dropped)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:  # noqa: ARG002
        """Drop blocks, smallest change of the outputs first, until at most `fraction` of the dense network's cost is left.

        Args:
            module: The dense network or the result of an earlier step. Not changed.
            fraction: Of the dense network's cost, in (0, 1].
            importance: Not used.
        """
        pruned = copy.deepcopy(module).eval()
        pruned.zero_grad(set_to_none=True)
        remaining = tuple(name for name in self.prunable if not is_skipped(pruned.get_submodule(name)))
        changes = block_importance(pruned, remaining, self.samples)
        spare = self.most - (len(self.prunable) - len(remaining))
        reached = self.cost(pruned)
        for name in sorted(remaining, key=lambda block: changes[block]):
            if reached <= fraction * self.dense or spare <= 0 or fraction >= 1:
                break
            drop_block(pruned, name, returns_tuple=name in self.tuples)
            reached = measure_cost(self.cost, pruned, fraction * self.dense, twice=self.measure in TIMED)
            spare -= 1
        check_forward(pruned, self.spec)
        return PrunedModel(
            pruned, notes=() if reached <= fraction * self.dense or fraction >= 1 else (self._shortfall(fraction, reached),)
        )

    def _shortfall(self, fraction: float, reached: float) -> Fact:
        values = {"granularity": "layer", "reached": reached / self.dense, "asked": fraction, **self.limits.describe()}
        return Fact.of("prune.target_not_reached", self.measure, **values)
