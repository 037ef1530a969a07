"""Eval mode for a block, and the device of a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode for the block; afterwards every submodule is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def module_device(module: nn.Module) -> torch.device:
    """Device of a module's weights; the CPU when it has none."""
    tensor = next(module.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device
