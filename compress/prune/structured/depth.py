"""Depth pruning: drop whole residual blocks and transformer layers.

A block can be dropped if its input can replace its output. This holds for a residual block, which returns its input when all
its weights are zero, and for a layer in a stack of transformer layers, each of which reads the output of the layer before. (A
layer with the norm after the sum, as in BERT, is not residual.) Blocks are ranked by the change of the outputs without them:

    I_b = ‖f(x) − f_without_b(x)‖ / ‖f(x)‖        over training samples x

Men et al. 2024, "ShortGPT", arXiv:2403.03853, score a block by its own input and output; the outputs of the network, used here,
are cheap for vision networks. Layers of BERT: Sajjad et al. 2020, arXiv:2004.03844.
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
from compress.core.language import gettext
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
    """One call of a block: the first input, a copy of it, and the first output."""

    first: Tensor
    x: Tensor
    output: Tensor


def removable_blocks(module: nn.Module, spec: NetworkSpec) -> tuple[str, ...]:
    """Names of the blocks that can be dropped, in the order of the forward pass; of nested blocks the innermost."""
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
    once = {name: call[0] for name, call in calls.items() if len(call) == 1 and call[0].x.shape == call[0].output.shape}
    layers = _transformer_layers(module, once)
    blocks = [name for name, call in once.items() if name in layers or _is_residual(module.get_submodule(name), call.x)]
    return tuple(name for name in blocks if not any(other.startswith(f"{name}.") for other in blocks))


def _transformer_layers(module: nn.Module, calls: Mapping[str, _Call]) -> set[str]:
    """Layers of the same class in a list, with attention, each of which reads the output of the layer before."""
    names: set[str] = set()
    for owner, part in module.named_modules():
        children = [f"{owner}.{child}".lstrip(".") for child in part._modules] if isinstance(part, _LISTS) else []
        for first, second in pairwise(name for name in children if name in calls):
            layers = module.get_submodule(first), module.get_submodule(second)
            is_chain = calls[first].output is calls[second].first
            if is_chain and type(layers[0]) is type(layers[1]) and all(map(heads.attentions, layers)):
                names |= {first, second}
    return names


@torch.no_grad()
def _is_residual(block: nn.Module, x: Tensor) -> bool:
    """Whether a block returns its input when its weights are zero."""
    empty = copy.deepcopy(block)
    for parameter in empty.parameters():
        parameter.zero_()
    try:
        output = empty(x)
    except Exception:  # a block with more than one input can be neither tested alone nor dropped
        return False
    return isinstance(output, Tensor) and bool(torch.allclose(output, x, atol=_TOLERANCE))


def drop_block(module: nn.Module, name: str, *, returns_tuple: bool = False) -> None:
    """Drop a block in place: its tensors become empty, and it returns its input.

    Args:
        module: The network.
        name: Name of the block.
        returns_tuple: The output of the block is a tuple that begins with a tensor; the shapes of the empty tensors encode it.
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
    """I_b of each block on samples x, (N, …) for each input, in the order of the signature."""
    dense = run_flat(module, x)
    changes = {}
    for name in blocks:
        handle = module.get_submodule(name).register_forward_hook(_return_input)
        try:
            changes[name] = float((run_flat(module, x) - dense).norm() / dense.norm().clamp(min=1e-30))
        finally:
            handle.remove()
    return changes


def _return_input(_: nn.Module, inputs: tuple[object, ...], output: object) -> object:
    return (inputs[0],) if isinstance(output, tuple) else inputs[0]


@torch.no_grad()
def _tuple_blocks(module: nn.Module, blocks: Sequence[str], spec: NetworkSpec) -> frozenset[str]:
    """The blocks whose output is a tuple."""
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
        parent: The dense network. Not changed.
        spec: Its input.
        samples: Training samples by which blocks are ranked, (N, …) for each input, in the order of the signature.
        measure: Measure of the cost.
        ranking: Not used: the order of the blocks is the same for both.
        limits: Largest fraction of the blocks to drop, and protected blocks.
        meter: For `latency` and `latency_ms`: (network) → its time as a fraction of the time of the dense network.

    Raises:
        ModelError: No block can be dropped.
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
        excluded = {name for name in blocks if name in self.protected or limits.ceiling([name]) == 0}
        self.prunable = tuple(name for name in blocks if name not in excluded)
        self.max_drops = int(limits.max_ratio * len(blocks) + 1e-9)
        self.skipped = (
            *(Fact.of("prune.protected", name) for name in sorted(excluded)),
            Fact.of("prune.not_a_residual_block"),
        )
        if not self.prunable or not self.max_drops:
            no_block = gettext("it has no residual block and no stack of transformer layers whose removal keeps shapes")
            reason = gettext("all its blocks are protected") if excluded else no_block
            msg = gettext(
                "no block of this network can be dropped: {reason}; use granularity: channel, or protect less", reason=reason
            )
            raise ModelError(msg)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)
        self.sizes = {name: sum(p.numel() for p in parent.get_submodule(name).parameters()) for name in self.prunable}

    def rows(self, module: nn.Module) -> tuple[Row, ...]:
        """The dropped blocks of a network, with the parameters of each."""
        dropped = [name for name in self.prunable if is_skipped(module.get_submodule(name))]
        return tuple({"block": name, "parameters": self.sizes[name]} for name in dropped)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:  # noqa: ARG002
        """Drop blocks, smallest change of the outputs first, until the cost is at most `fraction` of that of the dense network.

        Args:
            module: The dense network or the result of an earlier step. Not changed.
            fraction: Fraction of the cost of the dense network, in (0, 1].
            importance: Not used.
        """
        pruned = copy.deepcopy(module).eval()
        pruned.zero_grad(set_to_none=True)
        remaining = tuple(name for name in self.prunable if not is_skipped(pruned.get_submodule(name)))
        changes = block_importance(pruned, remaining, self.samples)
        drops = self.max_drops - (len(self.prunable) - len(remaining))
        reached = self.cost(pruned)
        for name in sorted(remaining, key=lambda block: changes[block]):
            if reached <= fraction * self.dense or drops <= 0 or fraction >= 1:
                break
            drop_block(pruned, name, returns_tuple=name in self.tuples)
            reached = measure_cost(self.cost, pruned, fraction * self.dense, twice=self.measure in TIMED)
            drops -= 1
        check_forward(pruned, self.spec)
        return PrunedModel(
            pruned, notes=() if reached <= fraction * self.dense or fraction >= 1 else (self._shortfall(fraction, reached),)
        )

    def _shortfall(self, fraction: float, reached: float) -> Fact:
        values = {"granularity": "layer", "reached": reached / self.dense, "asked": fraction, **self.limits.describe()}
        return Fact.of("prune.target_not_reached", self.measure, **values)
