"""Prune a network layer by layer from the inputs that the layers have behind those that are pruned already.

    inputs of block b ─► second moments of the inputs of its layers ─► prune them ─► run it again ─► inputs of block b + 1

For a stack of blocks, such as the layers of a transformer, the inputs of one block are held at a time, and the second moments
of the layers of one block. Layers outside of the longest stack are pruned one by one, each from runs of the network up to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.data.batch import Batch
from compress.prune.base import MASK
from compress.prune.criteria.base import ScoringData
from compress.prune.unstructured.block_chain import BlockCall, called_layers, find_chain, next_call
from compress.prune.unstructured.solvers import Removal, Solve, solve_by_magnitude

Layer = nn.Linear | nn.Conv2d


class _StopError(Exception):
    """Ends a run of the network when what it is for is recorded."""


def is_solvable(part: nn.Module) -> bool:
    """Whether the second moments of a layer's inputs can be recorded: linear layers, and convolutions without groups."""
    if isinstance(part, nn.Conv2d):
        return part.groups == 1 and part.padding_mode == "zeros" and not isinstance(part.padding, str)
    return isinstance(part, nn.Linear)


def to_matrix(part: Layer) -> Tensor:
    """Weight of a layer, (outputs, inputs): for a convolution the channels of a kernel position are adjacent."""
    return part.weight.detach().movedim(1, -1).flatten(1)


def from_matrix(part: Layer, matrix: Tensor) -> Tensor:
    """A matrix of `to_matrix` in the shape of the layer's weight."""
    shape = part.weight.shape
    return matrix.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


@torch.no_grad()
def prune_layer_by_layer(
    module: nn.Module, removals: Mapping[str, Removal], solve: Solve, data: ScoringData
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Set weights to zero and change the others, in place.

    Args:
        module: The network.
        removals: How much of each weight is removed, by parameter name.
        solve: The rule.
        data: Batches and task.

    Returns:
        Masks by parameter name, True where a weight is kept, and the names of the layers whose inputs are not recorded and
        whose weights are removed by their magnitude.
    """
    module.to(data.device).eval()
    layers = {name.rpartition(".")[0]: (name, removal) for name, removal in removals.items()}
    masks: dict[str, Tensor] = {}
    first = data.batches[0].to(data.device)
    order = called_layers(module, lambda: data.task.forward(module, first.inputs))
    solvable = [name for name in order if name in layers and is_solvable(module.get_submodule(name))]
    chain = find_chain(module, lambda: data.task.forward(module, first.inputs))
    inside = [[name for name in solvable if name.startswith(f"{block}.")] for block in chain]
    in_chain = {name for names in inside for name in names}
    before = [name for name in solvable if chain and order.index(name) < _first_of(order, chain) and name not in in_chain]
    after = [name for name in solvable if name not in in_chain and name not in before]

    def finish(moments: Mapping[str, InputMoments]) -> None:
        for name, moment in moments.items():
            key, removal = layers[name]
            part = module.get_submodule(name)
            assert isinstance(part, (nn.Linear, nn.Conv2d))  # noqa: S101  # as `is_solvable` has it
            matrix, kept = solve(to_matrix(part).cpu(), moment.matrix().cpu(), removal)
            part.weight.copy_(from_matrix(part, matrix))
            masks[key] = from_matrix(part, kept)

    for name in before:
        finish(_moments_up_to(module, name, data))
    if any(inside):
        for block_moments in _chain_moments(module, chain, inside, data):
            finish(block_moments)
    for name in after:
        finish(_moments_up_to(module, name, data))
    rest = [(key, removal) for key, removal in removals.items() if key not in masks]
    for key, removal in rest:
        weight = module.get_parameter(key)
        masks[key] = solve_by_magnitude(weight.detach().cpu(), removal)
        weight.masked_fill_(~masks[key].to(weight.device), 0.0)
    module.to("cpu")
    return masks, tuple(key.rpartition(".")[0] for key, _ in rest)


def _first_of(order: Sequence[str], chain: Sequence[str]) -> int:
    """Place of the first layer inside the blocks of a chain."""
    return next((place for place, name in enumerate(order) if name.startswith(f"{chain[0]}.")), 0)


@dataclass(eq=False)
class InputMoments:
    """E[x xᵀ] of the inputs of one layer, (D, D), as a sum and a count."""

    total: Tensor | None = None
    count: int = 0

    def add(self, rows: Tensor) -> None:
        """Count inputs, (rows, D)."""
        square = rows.T @ rows
        self.total = square if self.total is None else self.total.add_(square)
        self.count += len(rows)

    def matrix(self) -> Tensor:
        """The mean; its memory is that of the sum."""
        assert self.total is not None  # noqa: S101  # a layer that was called has inputs
        return self.total.div_(max(self.count, 1))


def _rows(part: Layer, x: Tensor, tokens: Tensor | None) -> Tensor:
    """Inputs of a layer as rows in the order of `to_matrix`, without padding of a text."""
    if isinstance(part, nn.Conv2d):
        images = x if x.dim() == 4 else x[None]
        patches = F.unfold(images, part.kernel_size, part.dilation, part.padding, part.stride)  # type: ignore[arg-type]
        split = torch.unflatten(patches, 1, (images.shape[1], -1)).permute(0, 3, 2, 1)  # N, places, kernel positions, channels
        return split.flatten(2).flatten(0, 1)
    rows = x.flatten(0, -2)
    return rows if tokens is None or len(tokens) != len(rows) else rows[tokens]


@contextmanager
def _record(module: nn.Module, names: Sequence[str]) -> Iterator[tuple[dict[str, InputMoments], Callable[[Batch], None]]]:
    """In the context: second moments of the inputs of layers, and a function to call with each batch before it runs.

    Layers that read the same tensor, as queries, keys and values do, have one sum in common.
    """
    moments: dict[str, InputMoments] = {}
    tokens: Tensor | None = None
    seen: dict[int, tuple[Tensor, InputMoments]] = {}

    def start(batch: Batch) -> None:
        nonlocal tokens
        tokens = batch.inputs[MASK].flatten().bool() if MASK in batch.inputs else None
        seen.clear()

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def record(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0]
            known = seen.get(id(x)) if isinstance(part, nn.Linear) else None
            if known is not None and moments.setdefault(name, known[1]) is known[1]:
                return
            if name not in moments:
                moments[name] = InputMoments()
            own = moments[name]
            own.add(_rows(part, x.detach().float(), tokens))  # type: ignore[arg-type]
            seen[id(x)] = x, own

        return record

    handles = [module.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        yield moments, start
    finally:
        for handle in handles:
            handle.remove()
        seen.clear()


def _moments_up_to(module: nn.Module, name: str, data: ScoringData) -> dict[str, InputMoments]:
    """Second moments of the inputs of one layer, from runs of the network that end at it."""

    def stop(*_: object) -> None:
        raise _StopError

    with _record(module, [name]) as (moments, start):
        runs_often = _counts_calls(module, name, lambda: data.task.forward(module, data.batches[0].to(data.device).inputs)) > 1
        moments.clear()
        handle = None if runs_often else module.get_submodule(name).register_forward_pre_hook(stop)
        try:
            for batch in data.batches:
                on_device = batch.to(data.device)
                start(on_device)
                with suppress(_StopError):
                    data.task.forward(module, on_device.inputs)
        finally:
            if handle is not None:
                handle.remove()
    return moments


def _counts_calls(module: nn.Module, name: str, run: Callable[[], object]) -> int:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = module.get_submodule(name).register_forward_pre_hook(count)
    try:
        run()
    finally:
        handle.remove()
    return calls


def _chain_moments(
    module: nn.Module, chain: Sequence[str], inside: Sequence[Sequence[str]], data: ScoringData
) -> Iterator[dict[str, InputMoments]]:
    """Second moments for the layers of each block; the caller prunes them before it takes those of the next block."""
    calls = _first_inputs(module, chain[0], data)
    for block, names in zip(chain, inside, strict=True):
        part = module.get_submodule(block)
        if names:
            with _record(module, names) as (moments, start):
                for batch, call in zip(data.batches, calls, strict=True):
                    start(batch.to(data.device))
                    part(*call.args, **call.kwargs)
            yield moments
        for index, call in enumerate(calls):
            calls[index] = next_call(call, part(*call.args, **call.kwargs))


def _first_inputs(module: nn.Module, block: str, data: ScoringData) -> list[BlockCall]:
    """What the first block of a chain is called with, for each batch."""
    calls: list[BlockCall] = []

    def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(BlockCall(args, kwargs))
        raise _StopError

    handle = module.get_submodule(block).register_forward_pre_hook(catch, with_kwargs=True)
    try:
        for batch in data.batches:
            with suppress(_StopError):
                data.task.forward(module, batch.to(data.device).inputs)
    finally:
        handle.remove()
    return calls
