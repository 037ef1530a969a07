"""Mutual learning: peers are trained together with the student, each on the labels and on the logits of the others.

Zhang et al. 2018, "Deep Mutual Learning", arXiv:1706.00384.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compress.core.entries import State, integer, mapping
from compress.core.language import gettext
from compress.data.batch import Batch, Tensors
from compress.data.interface import Data
from compress.distill.losses.response import response
from compress.distill.teachers.self_teachers import require_single_process
from compress.tasks.base import Task
from compress.train.checkpoints import network_hash
from compress.train.memory_format import to_device
from compress.train.optimizers import build_optimizer, lr_factor
from compress.train.settings import Training
from compress.train.teachers.base import Teacher


class Peers(Teacher):
    """Networks that are trained with the student, which imitates their mean logits.

    The loss of a peer is the task's loss on the labels plus the divergence from the mean logits of the others and the student.

    Args:
        networks: The peers, with their initial weights; they are trained in place.
        training: The student's settings, which the peers share.
        data: Determines the number of steps.
        task: Loss on the labels.
        temperature: T of the divergence.
    """

    def __init__(self, networks: Sequence[nn.Module], training: Training, data: Data, task: Task, temperature: float) -> None:
        self.key = f"mutual {temperature} {' '.join(map(network_hash, networks))}"
        self.training, self.task, self.temperature = training, task, temperature
        self.total = training.epochs * math.ceil(data.train.batches(training.batch_size) / training.accumulate)
        self.step = 0
        self._peers = nn.ModuleList(networks)
        self._optimizer: torch.optim.Optimizer | None = None
        self._outputs: list[Tensors] = []
        self._logits: list[Tensor] = []

    def before_training(self, student: nn.Module, device: torch.device) -> None:  # noqa: ARG002
        """Move the peers to the device.

        Raises:
            TrainingError: Several processes train.
        """
        require_single_process("mutual")
        to_device(self._peers, device).train()
        training = self.training
        self._optimizer = build_optimizer(training.optimizer, self._peers, lr=training.lr, weight_decay=training.weight_decay)

    def logits(self, batch: Batch) -> Tensor:
        """Mean logits of the peers."""
        self._outputs = [self.task.training_forward(peer, batch.inputs, batch.targets) for peer in self._peers]
        self._logits = [self.task.distillable(outputs, batch.targets).logits.float() for outputs in self._outputs]
        return torch.stack(self._logits).mean(dim=0).detach()

    def after_batch(self, batch: Batch, student: Tensor) -> None:
        """Accumulate the gradients of the peers."""
        all_logits = [student, *(logits.detach() for logits in self._logits)]
        for index, logits in enumerate(self._logits, start=1):
            others = torch.stack([other for position, other in enumerate(all_logits) if position != index]).mean(dim=0)
            loss = response(logits, others, T=self.temperature).mean()
            loss = loss + self.task.loss(self._outputs[index - 1], batch.targets)
            torch.autograd.backward(loss / self.training.accumulate)
        self._logits, self._outputs = [], []

    def after_step(self, student: nn.Module) -> None:  # noqa: ARG002
        """Update the weights of the peers."""
        training, optimizer = self.training, self._started_optimizer()
        for group in optimizer.param_groups:
            group["lr"] = training.lr * lr_factor(self.step, self.total, kind=training.schedule, warmup=training.warmup)
        optimizer.step()
        optimizer.zero_grad()
        self.step += 1

    def state_dict(self) -> State:
        """Weights and optimizer."""
        return {"peers": self._peers.state_dict(), "optimizer": self._started_optimizer().state_dict(), "step": self.step}

    def load_state_dict(self, state: State) -> None:
        """Restore weights and optimizer."""
        self._peers.load_state_dict(mapping(state, "peers"))
        self._started_optimizer().load_state_dict(dict(mapping(state, "optimizer")))
        self.step = integer(state, "step")

    def _started_optimizer(self) -> torch.optim.Optimizer:
        if self._optimizer is None:
            msg = gettext("call `before_training` first")
            raise RuntimeError(msg)
        return self._optimizer
