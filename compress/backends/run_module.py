"""Outputs of a network over a whole split, without side effects on the network."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compress.core.errors import DataError
from compress.data.interface import Split


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for the block; afterwards every part is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def place_of(module: nn.Module) -> torch.device:
    """The device of a module's weights; the CPU when it has none."""
    tensor = next(module.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def outputs_of(
    module: nn.Module, split: Split, *, batch_size: int = 256, device: str | torch.device = "cpu"
) -> tuple[Tensor, Tensor]:
    """Run a network over a split, in order, not augmented.

    Args:
        module: Takes float32 (N, C, H, W), gives (N, K). Left as it was; a copy is used on another device.
        split: What to run it on.
        batch_size: Samples at a time; only memory and speed depend on it.
        device: Where to compute.

    Returns:
        Outputs (N, K), float32, and targets (N,), both on the CPU.

    Raises:
        DataError: The split is empty.
    """
    place = torch.device(device)
    network = module if place_of(module).type == place.type else copy.deepcopy(module).to(place)
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    with evaluating(network), torch.no_grad():
        for batch in split.ordered(batch_size):
            outputs.append(network(batch.inputs.to(place, non_blocking=True)).float().cpu())
            targets.append(batch.targets.cpu())
    if not outputs:
        msg = "a split without samples cannot be evaluated; give it at least one"
        raise DataError(msg)
    return torch.cat(outputs), torch.cat(targets)
