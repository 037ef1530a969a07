"""The networks that pruning measures: a copy to prune, and its metric on the validation split."""

from __future__ import annotations

import copy

from torch import nn

from compress.backends.run_split import run_split
from compress.core.stage import Context
from compress.train.distributed import resolve_device


def trainable_copy(network: nn.Module) -> nn.Module:
    """A copy in eval mode whose floating-point parameters require gradients."""
    module = copy.deepcopy(network).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module


def validation_metric(module: nn.Module, context: Context) -> float:
    """The metric of the task on the validation split."""
    return run_split(module, context.data.validation, context.task, device=resolve_device(context.device)).metric
