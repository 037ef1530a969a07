"""Training images that replacements are fitted on: whole batches in a seeded order, looked at a pass at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from compress.data.batch import Split

BATCH = 32
OnCall = Callable[[str, Tensor, Tensor], None]
"""Given the name of a module, its input and its output."""


def images(split: Split, number: int, seed: int) -> tuple[Tensor, ...]:
    """Batches of training images, at least `number` of them where there are as many; augmented as in training."""
    found: list[Tensor] = []
    for batch in split.epoch(0, min(BATCH, max(2, number)), seed):
        found.append(batch.inputs)
        if sum(map(len, found)) >= number:
            break
    return tuple(found)


@torch.no_grad()
def run_hooks(network: nn.Module, names: Sequence[str], batches: Sequence[Tensor], seen: OnCall) -> None:
    """Run a network in eval mode and show what its modules are given and give.

    Args:
        network: Left as it was.
        names: Of modules that take and give one tensor.
        batches: Its inputs.
        seen: Called for each of the modules and each time that it runs.
    """
    with hooked(network, names, seen):
        for batch in batches:
            network(batch)


@contextmanager
def hooked(network: nn.Module, names: Sequence[str], seen: OnCall) -> Iterator[None]:
    """Call `seen` whenever one of the modules has run; inputs are as they were before it."""
    before: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name in names:
            part = network.get_submodule(name)
            keep = part.register_forward_pre_hook(lambda _, inputs, name=name: before.__setitem__(name, inputs[0].clone()))
            tell = part.register_forward_hook(lambda _, __, output, name=name: seen(name, before.pop(name), output))
            stack.callback(keep.remove)
            stack.callback(tell.remove)
        yield
