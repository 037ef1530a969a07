"""One optimizer step: shares of batches in, weights changed, loss out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from compress.data.splits import Batch
from compress.errors import TrainingError
from compress.tasks.base import Task
from compress.train.layout import layout_for
from compress.train.live import Lesson, lesson
from compress.train.optimizers import build
from compress.train.processes import parallel, share
from compress.train.schedules import factor
from compress.train.settings import Training
from compress.train.sight import Clock, Sight
from compress.train.taps import Seen, tapped
from compress.train.teacher import Teacher
from compress.train.terms import Answers, Term, live


class Stepper:
    """Takes optimizer steps on one network.

    Args:
        accelerator: Device, precision and processes.
        module: The network, on its device.
        average: Its moving average, or None.
        training: Settings.
        task: Loss of hard labels.
        terms: Weighted sum to minimise.
        teacher: Whom the terms that need one imitate.
        sight: What the terms see besides the answers; of the same terms.
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
        teacher: Teacher | None,
        sight: Sight,
        after_step: Callable[[], None] | None,
    ) -> None:
        self.accelerator = accelerator
        self.module = module
        self.average = average
        self.training = training
        self.task = task
        self.terms = tuple(terms)
        self.teacher = teacher if any(term.needs for term in self.terms) else None
        self.live = bool(live(self.terms))
        self.sight = sight
        self.clock = Clock(accelerator.device)
        self.after_step = after_step
        self.parallel = parallel(accelerator, module)
        optimizer = build(training.optimizer, module, lr=training.lr, weight_decay=training.weight_decay, learned=sight.learned)
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
        self._share_learned()
        if training.clip is not None:
            self.accelerator.clip_grad_norm_([*self.module.parameters(), *self.sight.learned.parameters()], training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.after_step is not None:
            self.after_step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        if self.teacher is not None:
            self.teacher.stepped(self.module)

    def notes(self) -> tuple[str, ...]:
        """What a reviewer should know of the terms."""
        costly = ("the teacher ran at every step: losses on features or gradients cannot use kept answers",)
        return (*self.sight.notes(), *costly) if self.live else ()

    def _share_learned(self) -> None:
        """Average the gradients of learned modules over the processes, as is done for the network's own."""
        if self.accelerator.num_processes > 1:
            for parameter in self.sight.learned.parameters():
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, "mean")

    def _loss(self, batch: Batch, progress: float) -> Tensor:
        device = self.accelerator.device
        inputs = batch.inputs.to(device, non_blocking=True, memory_format=self.layout)
        here = batch._replace(inputs=inputs, targets=batch.targets.to(device, non_blocking=True))
        taught = self._ask(here)
        inputs.requires_grad_(taught.gradient is not None)
        with tapped(self.module, self.sight.taps) as own, self.accelerator.autocast():
            student = self.parallel(inputs).float()
        if taught.logits is not None and taught.logits.shape != student.shape:
            classes = f"the teacher answers with {taught.logits.shape[1]} classes, the student with {student.shape[1]}"
            raise TrainingError(f"{classes}; both must have the data's classes, in its order")
        if self.teacher is not None:
            self.teacher.learn(here, student.detach())
        answers = Answers(here, student, taught.logits, self.task, self.training.label_smoothing, gradient=taught.gradient)
        return self._sum(answers, own, taught.seen, progress)

    def _ask(self, batch: Batch) -> Lesson:
        if self.teacher is None:
            return Lesson()
        if not self.live:
            return Lesson(self.teacher.logits(batch))
        gradient = any("input_gradient" in term.needs for term in self.terms)
        return lesson(self.teacher, batch, self.sight, self.clock, gradient=gradient)

    def _sum(self, answers: Answers, own: Seen, theirs: Sequence[Seen], progress: float) -> Tensor:
        """Weighted sum of the terms; those that need a teacher count nothing while it has no answers."""
        values = []
        for index, term in enumerate(self.terms):
            if term.needs and answers.teacher is None:
                continue
            given = replace(answers, pairs=self.sight.pairs(index, own, theirs), learned=self.sight.learned_by(index))
            values.append(term.share(progress) * term.value(given))
        return torch.stack(values).sum() if values else answers.student.sum() * 0.0


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
