"""Mutual learning: peers are trained beside the student, each from the labels and from the others.

Zhang et al. 2018, "Deep Mutual Learning", arXiv:1706.00384.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compress.data.interface import Batch, Data
from compress.distill.losses.response import response
from compress.distill.teachers.self_teachers import require_single_process
from compress.tasks.base import Task
from compress.train.checkpoints import weights_hash
from compress.train.lr_schedules import lr_factor
from compress.train.memory_format import to_device
from compress.train.optimizers import build_optimizer
from compress.train.settings import Training
from compress.train.teachers.base import Teacher


class Peers(Teacher):
    """Networks that learn with the student; their mean answer is what it imitates.

    A peer's loss is the task's on the labels and the divergence from the mean answer of all the others, student included.

    Args:
        networks: The peers, with their first weights; they are trained in place.
        training: The student's settings, which the peers share.
        data: For the number of steps.
        task: Loss of the labels.
        temperature: T of the peers' imitation.
    """

    def __init__(self, networks: Sequence[nn.Module], training: Training, data: Data, task: Task, temperature: float) -> None:
        self.key = f"mutual {temperature} {' '.join(map(weights_hash, networks))}"
        self.training, self.task, self.temperature = training, task, temperature
        self.total = training.epochs * math.ceil(data.train.batches(training.batch_size) / training.accumulate)
        self.step = 0
        self._peers = nn.ModuleList(networks)
        self._optimizer: torch.optim.Optimizer | None = None
        self._answers: list[Tensor] = []

    def before_training(self, student: nn.Module, device: torch.device) -> None:  # noqa: ARG002
        """Bring the peers to the device.

        Raises:
            TrainingError: Several processes train.
        """
        require_single_process("mutual")
        to_device(self._peers, device).train()
        training = self.training
        self._optimizer = build_optimizer(training.optimizer, self._peers, lr=training.lr, weight_decay=training.weight_decay)

    def logits(self, batch: Batch) -> Tensor:
        """Mean answer of the peers."""
        self._answers = [peer(batch.inputs).float() for peer in self._peers]
        return torch.stack(self._answers).mean(dim=0).detach()

    def after_batch(self, batch: Batch, student: Tensor) -> None:
        """Add up the peers' gradients."""
        labelled = batch.targets >= 0
        everybody = [student, *(answer.detach() for answer in self._answers)]
        for number, answer in enumerate(self._answers, start=1):
            others = torch.stack([other for place, other in enumerate(everybody) if place != number]).mean(dim=0)
            loss = response(answer, others, T=self.temperature).mean()
            if bool(labelled.any()):
                loss = loss + self.task.loss(answer[labelled], batch.targets[labelled])
            (loss / self.training.accumulate).backward()  # type: ignore[no-untyped-call]
        self._answers = []

    def after_step(self, student: nn.Module) -> None:  # noqa: ARG002
        """Change the peers' weights."""
        training, optimizer = self.training, self._working()
        for group in optimizer.param_groups:
            group["lr"] = training.lr * lr_factor(self.step, self.total, kind=training.schedule, warmup=training.warmup)
        optimizer.step()
        optimizer.zero_grad()
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"peers": self._peers.state_dict(), "optimizer": self._working().state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Back to them."""
        self._peers.load_state_dict(state["peers"])
        self._working().load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _working(self) -> torch.optim.Optimizer:
        if self._optimizer is None:
            msg = "`begin` comes first"
            raise RuntimeError(msg)
        return self._optimizer
