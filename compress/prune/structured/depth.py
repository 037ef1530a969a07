"""Depth pruning: drop whole residual blocks and transformer layers.

A block can be dropped if its input can replace its output. This holds for a residual block, which returns its input when all
its weights are zero, and for a layer in a stack of transformer layers, each of which reads the output of the layer before. (A
layer with the norm after the sum, as in BERT, is not residual.) A layer that runs several times with the same weights (ALBERT)
stays. Blocks are ranked as `block_importance` scores them. Men et al. 2024, "ShortGPT", arXiv:2403.03853; layers of BERT:
Sajjad et al. 2020, arXiv:2004.03844.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
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
from compress.core.sentences import render
from compress.models.pruned_attention import empty_shape, is_skipped, restore_pruned_forwards
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.schedule_settings import TIMED
from compress.prune.structured.block_importance import BlockScoring
from compress.prune.structured.equivalence import check_forward
from compress.prune.structured.head_layouts import has_attention
from compress.prune.structured.layer_costs import CostFn, CostMeasure, cost, measure_cost
from compress.train.module_globs import check_globs, match_modules

_TOLERANCE = 1e-6
_LISTS = (nn.ModuleList, nn.Sequential)
_PLACE = "layer_idx"
"""Attribute with the number of a layer of transformers."""


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a block: the first input, a copy of it, the first output, and the further outputs of a tuple, else None."""

    first: Tensor
    x: Tensor
    output: Tensor
    others: tuple[object, ...] | None

    @property
    def keeps_shape(self) -> bool:
        """Whether the input can replace the outputs: the first one has its shape, and all others are None."""
        return self.x.shape == self.output.shape and all(other is None for other in self.others or ())


def removable_blocks(module: nn.Module, spec: NetworkSpec) -> tuple[str, ...]:
    """Names of the blocks that can be dropped, in the order of the forward pass; of nested blocks the innermost."""
    return tuple(_find_blocks(module, _record_calls(module, spec)))


def _tuple_lengths(module: nn.Module, spec: NetworkSpec, blocks: Iterable[str]) -> dict[str, int]:
    """Length of the tuple that each block returns; 0 for a block that returns a tensor."""
    calls = _record_calls(module, spec)
    return {name: 0 if (others := calls[name][0].others) is None else 1 + len(others) for name in blocks}


def repeated_layers(module: nn.Module, spec: NetworkSpec) -> dict[str, int]:
    """Layers with attention that run several times with the same weights, and the number of their runs; the outermost ones."""
    calls = _record_calls(module, spec)
    runs = {name: len(call) for name, call in calls.items() if len(call) > 1 and has_attention(module.get_submodule(name))}
    return {name: count for name, count in runs.items() if not any(name.startswith(f"{other}.") for other in runs)}


def _record_calls(module: nn.Module, spec: NetworkSpec) -> dict[str, list[_Call]]:
    """The calls of every submodule with children, in the order in which they end."""
    calls: dict[str, list[_Call]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if inputs and isinstance(inputs[0], Tensor) and isinstance(first, Tensor):
                others = tuple(output[1:]) if isinstance(output, tuple) else None
                calls.setdefault(name, []).append(_Call(inputs[0], inputs[0].detach().clone(), first, others))

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
    return calls


def _find_blocks(module: nn.Module, calls: Mapping[str, list[_Call]]) -> list[str]:
    once = {name: call[0] for name, call in calls.items() if len(call) == 1 and call[0].keeps_shape}
    layers = _transformer_layers(module, once)
    blocks = [name for name, call in once.items() if name in layers or _is_residual(module.get_submodule(name), call.x)]
    return [name for name in blocks if not any(other.startswith(f"{name}.") for other in blocks)]


def _transformer_layers(module: nn.Module, calls: Mapping[str, _Call]) -> set[str]:
    """Layers of the same class in a list, with attention, each of which reads the output of the layer before."""
    names: set[str] = set()
    for owner, part in module.named_modules():
        children = [f"{owner}.{child}".lstrip(".") for child in part._modules] if isinstance(part, _LISTS) else []
        for first, second in pairwise(name for name in children if name in calls):
            layers = module.get_submodule(first), module.get_submodule(second)
            is_chain = calls[first].output is calls[second].first
            if is_chain and type(layers[0]) is type(layers[1]) and all(map(has_attention, layers)):
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


def drop_block(module: nn.Module, name: str, *, entries: int = 0) -> None:
    """Drop a block in place: its tensors become empty, and it returns its input.

    Args:
        module: The network.
        name: Name of the block.
        entries: Length of the tuple that the block returns, 0 for a tensor; the shapes of the empty tensors encode it.
    """
    block = module.get_submodule(name)
    for part in block.modules():
        for key, parameter in part.named_parameters(recurse=False):
            shape = empty_shape(parameter.dim(), entries=entries)
            setattr(part, key, nn.Parameter(parameter.new_empty(shape), parameter.requires_grad))
        for key, buffer in part.named_buffers(recurse=False):
            if buffer.dim():
                setattr(part, key, buffer.new_empty((0,) * buffer.dim()))
    restore_pruned_forwards(module)
    _number_layers(module, name)


def _number_layers(module: nn.Module, name: str) -> None:
    """Number the layers beside a dropped one anew: a cache of keys and values has its places by these numbers."""
    owner = module.get_submodule(name.rpartition(".")[0])
    remaining = [layer for layer in owner.children() if not is_skipped(layer)] if isinstance(owner, nn.ModuleList) else []
    for place, layer in enumerate(remaining):
        for part in layer.modules():
            if isinstance(getattr(part, _PLACE, None), int):
                setattr(part, _PLACE, place)


class BlockPruner:
    """Drops blocks of one dense network, in any number of steps.

    Args:
        parent: The dense network. Not changed.
        spec: Its input.
        scoring: How blocks are ranked.
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
        scoring: BlockScoring,
        measure: CostMeasure,
        limits: Constraints,
        ranking: Literal["global", "local"] = "global",  # noqa: ARG002
        meter: CostFn | None = None,
    ) -> None:
        self.spec, self.measure, self.scoring, self.limits = spec, measure, scoring, limits
        self.cost = meter if measure in TIMED and meter else partial(cost, spec=spec, measure=measure)
        self.protected = match_modules(parent, limits.protect)
        check_globs(limits.ceilings, parent)
        work = copy.deepcopy(parent).eval()
        blocks = removable_blocks(work, spec)
        self.entries = _tuple_lengths(work, spec, blocks)
        excluded = {name for name in blocks if name in self.protected or limits.ceiling([name]) == 0}
        self.prunable = tuple(name for name in blocks if name not in excluded)
        self.max_drops = int(limits.max_ratio * len(blocks) + 1e-9)
        self.skipped = (
            *(Fact.of("prune.protected", name) for name in sorted(excluded)),
            *(Fact.of("prune.shared_layer", name, runs=runs) for name, runs in repeated_layers(work, spec).items()),
            Fact.of("prune.not_a_residual_block"),
        )
        if not self.prunable or not self.max_drops:
            msg = gettext(
                "no block of this network can be dropped: {reason}; use granularity: channel, or protect less",
                reason=self._no_block(excluded),
            )
            raise ModelError(msg)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)
        self.sizes = {name: sum(p.numel() for p in parent.get_submodule(name).parameters()) for name in self.prunable}

    def _no_block(self, excluded: Collection[str]) -> str:
        """Why no block can be dropped."""
        if excluded:
            return gettext("all its blocks are protected")
        shared = [f"{fact.subject} ({render(fact)})" for fact in self.skipped if fact.code == "prune.shared_layer"]
        return "; ".join(shared) or gettext(
            "it has no residual block and no stack of transformer layers whose removal keeps shapes"
        )

    def rows(self, module: nn.Module) -> tuple[Row, ...]:
        """The dropped blocks of a network, with the parameters of each."""
        dropped = [name for name in self.prunable if is_skipped(module.get_submodule(name))]
        return tuple({"block": name, "parameters": self.sizes[name]} for name in dropped)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:  # noqa: ARG002
        """Drop blocks, smallest score first, until the cost is at most `fraction` of that of the dense network.

        Args:
            module: The dense network or the result of an earlier step. Not changed.
            fraction: Fraction of the cost of the dense network, in (0, 1].
            importance: Not used.
        """
        pruned = copy.deepcopy(module).eval()
        pruned.zero_grad(set_to_none=True)
        remaining = [name for name in self.prunable if not is_skipped(pruned.get_submodule(name))]
        drops = self.max_drops - (len(self.prunable) - len(remaining))
        reached, scores = self.cost(pruned), dict[str, float]()
        while reached > fraction * self.dense and drops > 0 and fraction < 1:
            if not scores or self.scoring.is_greedy:
                scores = self.scoring.scores(pruned, remaining)
            name = min(remaining, key=scores.__getitem__)
            drop_block(pruned, name, entries=self.entries[name])
            reached = measure_cost(self.cost, pruned, fraction * self.dense, twice=self.measure in TIMED)
            remaining.remove(name)
            drops -= 1
        check_forward(pruned, self.spec)
        return PrunedModel(
            pruned, notes=() if reached <= fraction * self.dense or fraction >= 1 else (self._shortfall(fraction, reached),)
        )

    def _shortfall(self, fraction: float, reached: float) -> Fact:
        values = {"granularity": "layer", "reached": reached / self.dense, "asked": fraction, **self.limits.describe()}
        return Fact.of("prune.target_not_reached", self.measure, **values)
