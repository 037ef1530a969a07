"""Rows of the logits of a teacher: of its network, or stored ones, which lack most classes."""

from __future__ import annotations

import torch
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


def fill_rest(z_t: Tensor, z_s: Tensor) -> Tensor:
    """Logits of a teacher that are known for some classes: the rest is one class.

        z_c = log p_c                                                  c known
        z_c = log(1 − Σ_known p) + log softmax over the rest of z_s    c in the rest, without gradient

    The rest has the student's own shares. So KL(p_t ‖ p_s) is that over the known classes and the rest as one class, and its
    gradient as well: within the rest nothing pulls the student.

    Args:
        z_t: Log-probabilities, −∞ where they are not known, (R, K).
        z_s: Logits of the student, (R, K).
    """
    unknown = z_t.isneginf()
    rest = (1 - z_t.exp().sum(dim=1, keepdim=True)).clamp(min=torch.finfo(z_t.dtype).tiny).log()
    shares = z_s.detach().masked_fill(~unknown, -torch.inf).log_softmax(dim=1)
    return torch.where(unknown, rest + shares, z_t)
