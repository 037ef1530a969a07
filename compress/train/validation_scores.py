"""Scores of a network on the validation split, on the device of the run."""

from __future__ import annotations

from torch import nn

from compress.backends.run_split import SplitScores, run_split
from compress.core.stage import Context
from compress.train.distributed import resolve_device


def validation_scores(module: nn.Module, context: Context) -> SplitScores:
    """Loss and deciding metric of a network on validation, in eval mode.

    Args:
        module: The network, which is not changed.
        context: Data, task and device.
    """
    return run_split(module, context.data.validation, context.task, device=resolve_device(context.device))
