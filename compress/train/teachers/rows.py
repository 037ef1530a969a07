"""Rows of a teacher's network that losses on answers compare."""

from __future__ import annotations

from torch import Tensor, nn

from compress.data.batch import Batch
from compress.tasks.base import Task


def distillable_rows(network: nn.Module, batch: Batch, task: Task) -> Tensor:
    """Rows of a network for a batch, float32 (R, K); of a classifier its logits, R = N.

    Args:
        network: On the device of the batch.
        batch: Its targets say which rows count, for tasks that have more than one for each sample.
        task: Runs the network.
    """
    return task.distillable(task.forward(network, batch.inputs), batch.targets).logits.float()
