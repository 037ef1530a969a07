"""Whole residual blocks go: what is left is the same network with fewer of them.

A block counts as residual if it passes its input on when all its weights are zero; then its input can take the place of its
output. Which block goes first is told by what its loss changes:

    I_b = ‖f(x) − f_without_b(x)‖ / ‖f(x)‖        over training samples x

Men et al. 2024, "ShortGPT", arXiv:2403.03853, score a block by its own input and output; the network's outputs are used here,
since they are cheap in vision networks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compress.core.errors import ModelError
from compress.core.fact import Fact
from compress.core.record import InputSpec
from compress.models.module_globs import check_globs, match_modules
from compress.models.pruned_attention import is_skipped, restore_pruned_forwards
from compress.prune.base import Constraints, PrunedModel
from compress.prune.criteria import Importance
from compress.prune.schedule_settings import TIMED
from compress.prune.structured.equivalence import check_forward
from compress.prune.structured.layer_costs import CostFn, CostMeasure, cost, measure_cost

_TOLERANCE = 1e-6


def residual_blocks(module: nn.Module, spec: InputSpec) -> tuple[str, ...]:
    """Names of the residual blocks that keep shapes, in the order of the forward pass; of nested ones the innermost."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                seen.setdefault(name, []).append((inputs[0].detach().clone(), output.detach()))

        return hook

    hooks = [
        part.register_forward_hook(watch(name))
        for name, part in module.named_modules()
        if name and any(part.children()) and any(p.numel() for p in part.parameters())
    ]
    try:
        with torch.no_grad():
            module(torch.randn(2, *spec.shape, generator=torch.Generator().manual_seed(0)))
    finally:
        for handle in hooks:
            handle.remove()
    found = [
        name
        for name, calls in seen.items()
        if len(calls) == 1 and calls[0][0].shape == calls[0][1].shape and _passes_on(module.get_submodule(name), calls[0][0])
    ]
    return tuple(name for name in found if not any(other.startswith(f"{name}.") for other in found))


@torch.no_grad()
def _passes_on(block: nn.Module, x: Tensor) -> bool:
    """Whether a block gives its input back when its weights are zero."""
    empty = copy.deepcopy(block)
    for parameter in empty.parameters():
        parameter.zero_()
    try:
        found = empty(x)
    except Exception:  # a block that needs more than one input cannot be judged alone, nor dropped
        return False
    return bool(torch.allclose(found, x, atol=_TOLERANCE))


def drop_block(module: nn.Module, name: str) -> None:
    """Take a block out in place: its tensors become empty and it passes its input on."""
    block = module.get_submodule(name)
    for part in block.modules():
        for key, parameter in part.named_parameters(recurse=False):
            setattr(part, key, nn.Parameter(parameter.new_empty((0,) * parameter.dim()), parameter.requires_grad))
        for key, buffer in part.named_buffers(recurse=False):
            if buffer.dim():
                setattr(part, key, buffer.new_empty((0,) * buffer.dim()))
    restore_pruned_forwards(module)


@torch.no_grad()
def block_importance(module: nn.Module, blocks: tuple[str, ...], x: Tensor) -> dict[str, float]:
    """I_b of each block on samples x (N, C, H, W)."""
    dense = module(x)
    found = {}
    for name in blocks:
        handle = module.get_submodule(name).register_forward_hook(lambda _, inputs, __: inputs[0])
        try:
            found[name] = float((module(x) - dense).norm() / dense.norm().clamp(min=1e-30))
        finally:
            handle.remove()
    return found


class BlockPruner:
    """Drops residual blocks of one dense network, in as many cuts as wanted.

    Args:
        parent: The dense network. It is not changed.
        spec: Its input.
        samples: Training samples to judge blocks by, (N, C, H, W).
        measure: What a target is a fraction of.
        ranking: Not used: there is one order of blocks.
        limits: Largest fraction of the blocks that may go, and protected ones.
        meter: For `latency` and `latency_ms`: time of a network as a fraction of the dense one's.

    Raises:
        ModelError: No block may go.
    """

    def __init__(
        self,
        parent: nn.Module,
        spec: InputSpec,
        *,
        samples: Tensor,
        measure: CostMeasure,
        limits: Constraints,
        ranking: Literal["global", "local"] = "global",  # noqa: ARG002
        meter: CostFn | None = None,
    ) -> None:
        self.spec, self.measure, self.samples, self.limits = spec, measure, samples, limits
        self.cost = meter if measure in TIMED and meter else partial(cost, spec=spec, measure=measure)
        self.protected = match_modules(parent, limits.protect)
        check_globs(limits.ceilings, parent)
        blocks = residual_blocks(copy.deepcopy(parent).eval(), spec)
        closed = {name for name in blocks if name in self.protected or limits.ceiling([name]) == 0}
        self.prunable = tuple(name for name in blocks if name not in closed)
        self.most = int(limits.max_ratio * len(blocks) + 1e-9)
        self.skipped = (
            *(Fact.of("prune.protected", name) for name in sorted(closed)),
            Fact.of("prune.not_a_residual_block"),
        )
        if not self.prunable or not self.most:
            told = "all its residual blocks are protected" if closed else "it has no residual block whose removal keeps shapes"
            msg = f"no block of this network may be dropped: {told}; use granularity: channel, or protect less"
            raise ModelError(msg)
        self.dense = 1.0 if measure in TIMED else self.cost(parent)
        self.sizes = {name: sum(p.numel() for p in parent.get_submodule(name).parameters()) for name in self.prunable}

    def rows(self, module: nn.Module) -> tuple[dict[str, Any], ...]:
        """The blocks that a result of a cut lacks, with the parameters that went with each."""
        dropped = [name for name in self.prunable if is_skipped(module.get_submodule(name))]
        return tuple({"block": name, "parameters": self.sizes[name]} for name in dropped)

    def prune(self, module: nn.Module, fraction: float, importance: Importance) -> PrunedModel:  # noqa: ARG002
        """Drop blocks, least missed first, until at most `fraction` of the dense network's cost is left.

        Args:
            module: The dense network or the result of an earlier cut. Not changed.
            fraction: Of the dense network's cost, in (0, 1].
            importance: Not used.
        """
        made = copy.deepcopy(module).eval()
        made.zero_grad(set_to_none=True)
        left = tuple(name for name in self.prunable if not is_skipped(made.get_submodule(name)))
        found = block_importance(made, left, self.samples)
        spare = self.most - (len(self.prunable) - len(left))
        reached = self.cost(made)
        for name in sorted(left, key=lambda block: found[block]):
            if reached <= fraction * self.dense or spare <= 0 or fraction >= 1:
                break
            drop_block(made, name)
            reached = measure_cost(self.cost, made, fraction * self.dense, twice=self.measure in TIMED)
            spare -= 1
        check_forward(made, self.spec)
        return PrunedModel(
            made, notes=() if reached <= fraction * self.dense or fraction >= 1 else (self._shortfall(fraction, reached),)
        )

    def _shortfall(self, fraction: float, reached: float) -> Fact:
        values = {"granularity": "layer", "reached": reached / self.dense, "asked": fraction, **self.limits.describe()}
        return Fact.of("prune.target_not_reached", self.measure, **values)
