"""Context managers for eval mode and for gradients of all parameters, and the device of a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Set a module to eval mode within the block; afterwards the mode of every submodule is restored."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def all_require_grad(module: nn.Module) -> Iterator[None]:
    """Let all floating-point parameters require gradients within the block; afterwards frozen parameters are frozen again.

    Parameters that the block replaces are identified by their names.
    """
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        yield
    finally:
        parameters = dict(module.named_parameters())
        for name in frozen:
            if name in parameters:
                parameters[name].requires_grad_(False)


def module_device(module: nn.Module) -> torch.device:
    """Device of a module's first parameter; the CPU if it has none."""
    tensor = next(module.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device
