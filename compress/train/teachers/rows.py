"""Rows of the logits of a teacher's network."""

from __future__ import annotations

from torch import Tensor, nn

from compress.data.batch import Batch
from compress.tasks.base import Rows, Task


def distillable_rows(network: nn.Module, batch: Batch, task: Task) -> Tensor:
    """Rows of logits of a network for a batch, float32 (R, K); for a classifier R = N.

    Args:
        network: Network on the device of the batch.
        batch: Batch; for tasks with several rows per sample its targets select the rows.
        task: Task that runs the network.
    """
    return rows_of(network, batch, task).logits.float()


def rows_of(network: nn.Module, batch: Batch, task: Task) -> Rows:
    """The same with the sample of each row."""
    return task.distillable(task.training_forward(network, batch.inputs, batch.targets), batch.targets)
