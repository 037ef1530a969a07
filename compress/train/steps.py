"""One optimizer step: shares of batches in, weights changed, loss out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from compress.data.splits import Batch
from compress.tasks.base import Task
from compress.train.answers import TeacherAnswers
from compress.train.layout import layout_for
from compress.train.optimizers import build
from compress.train.processes import parallel, share
from compress.train.schedules import factor
from compress.train.settings import Training
from compress.train.terms import Answers, Term


class Stepper:
    """Takes optimizer steps on one network.

    Args:
        accelerator: Device, precision and processes.
        module: The network, on its device.
        average: Its moving average, or None.
        training: Settings.
        task: Loss of hard labels.
        terms: Weighted sum to minimise.
        teacher: Answers for the terms that need them.
        after_step: Called after each change of the weights, for example to put pruned weights back to zero.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        average: AveragedModel | None,
        *,
        training: Training,
        task: Task,
        terms: Sequence[Term],
        teacher: TeacherAnswers | None,
        after_step: Callable[[], None] | None,
    ) -> None:
        self.accelerator = accelerator
        self.module = module
        self.average = average
        self.training = training
        self.task = task
        self.terms = tuple(term for term in terms if term.weight > 0)
        self.teacher = teacher if any("teacher_logits" in term.needs for term in self.terms) else None
        self.after_step = after_step
        self.parallel = parallel(accelerator, module)
        optimizer = build(training.optimizer, module, lr=training.lr, weight_decay=training.weight_decay)
        self.optimizer = accelerator.prepare_optimizer(optimizer, device_placement=False)
        self.layout = layout_for(module, accelerator.device)

    def gradients(self, group: Sequence[Batch], progress: float) -> Tensor:
        """Add up the gradients of the batches of one step, weighted by their sizes; this process's part of the mean loss.

        Args:
            group: The batches.
            progress: Fraction of all steps done, in [0, 1).
        """
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        total = sum(len(batch.targets) for batch in group)
        found = torch.zeros((), device=self.accelerator.device)
        for index, whole in enumerate(group):
            batch, weight = share(whole, total, rank=rank, world=world)
            last = index == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.parallel):
                loss = self._loss(batch, progress) * weight
                self.accelerator.backward(loss * world)
            found += loss.detach()
        return found

    def change(self, step: int, steps: int) -> None:
        """Change the weights by the gradients at hand; `step` of `steps` decides on the learning rate."""
        training = self.training
        scale = factor(step, steps, kind=training.schedule, warmup=training.warmup)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = training.lr * scale
        if training.clip is not None:
            self.accelerator.clip_grad_norm_(self.module.parameters(), training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.after_step is not None:
            self.after_step()
        if self.average is not None:
            self.average.update_parameters(self.module)

    def _loss(self, batch: Batch, progress: float) -> Tensor:
        device = self.accelerator.device
        inputs = batch.inputs.to(device, non_blocking=True, memory_format=self.layout)
        here = batch._replace(inputs=inputs, targets=batch.targets.to(device, non_blocking=True))
        teacher = self.teacher.logits(here) if self.teacher is not None else None
        with self.accelerator.autocast():
            student = self.parallel(inputs)
        answers = Answers(here, student.float(), teacher, self.task, self.training.label_smoothing)
        values = [term.share(progress) * term.value(answers) for term in self.terms]
        return torch.stack(values).sum()


def grouped(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of `size` batches; the last may be shorter."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
