"""The longest stack of blocks in a network, each of which reads the output of the block before, as in a transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

_LISTS = (nn.ModuleList, nn.Sequential)


@dataclass(frozen=True, eq=False)
class BlockCall:
    """What a block is called with; the first argument is what changes from block to block."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def next_call(call: BlockCall, output: object) -> BlockCall:
    """The call of the next block, from the output of this one, of which the first entry of a tuple counts."""
    first = output[0] if isinstance(output, tuple) else output
    return BlockCall((first, *call.args[1:]), call.kwargs)


@torch.no_grad()
def called_layers(module: nn.Module, run: Callable[[], object]) -> list[str]:
    """Names of the modules without children that a run calls, in the order of their first calls."""
    order: dict[str, None] = {}

    def hook(name: str) -> Callable[..., None]:
        return lambda *_: order.setdefault(name)

    parts = [(name, part) for name, part in module.named_modules() if name and not any(part.children())]
    handles = [part.register_forward_pre_hook(hook(name)) for name, part in parts]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return list(order)


@torch.no_grad()
def find_chain(module: nn.Module, run: Callable[[], object]) -> tuple[str, ...]:
    """Names of the blocks of the stack with most parameters; empty where the network has no stack of two blocks.

    Every block is called once, in order, with the output of the block before as its first argument and with the same further
    arguments.

    Args:
        module: The network.
        run: Runs it.
    """
    stacks = {
        name: [f"{name}.{child}".strip(".") for child in part._modules]
        for name, part in module.named_modules()
        if isinstance(part, _LISTS) and len(part) > 1
    }
    calls: dict[str, list[tuple[BlockCall, object]]] = {}
    handles = [
        module.get_submodule(block).register_forward_hook(_recorder(calls, block), with_kwargs=True)
        for blocks in stacks.values()
        for block in blocks
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    chains = [tuple(blocks) for blocks in stacks.values() if _is_chain(blocks, calls)]
    return max(chains, key=lambda blocks: sum(map(_size, map(module.get_submodule, blocks))), default=())


def _recorder(calls: dict[str, list[tuple[BlockCall, object]]], block: str) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        calls.setdefault(block, []).append((BlockCall(args, kwargs), output))

    return hook


def _is_chain(blocks: list[str], calls: Mapping[str, list[tuple[BlockCall, object]]]) -> bool:
    if any(len(calls.get(block, ())) != 1 or not calls[block][0][0].args for block in blocks):
        return False
    first = calls[blocks[0]][0][0]
    for block, following in pairwise(blocks):
        expected, own = next_call(calls[block][0][0], calls[block][0][1]), calls[following][0][0]
        if own.args[0] is not expected.args[0] or not isinstance(own.args[0], Tensor):
            return False
        if not _same(first.args[1:], own.args[1:]) or not _same(dict(first.kwargs), dict(own.kwargs)):
            return False
    return True


def _same(one: object, other: object) -> bool:
    """Whether two arguments are the same object, or equal."""
    if one is other:
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and not isinstance(one, Tensor) and bool(one == other)


def _size(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
