"""One optimizer step: shares of batches in, weights changed, loss out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from compress.core.errors import TrainingError
from compress.core.registry_field import name_of
from compress.data.interface import Batch
from compress.tasks.base import Task
from compress.train.curriculum.loss_balancing import LossBalancer
from compress.train.curriculum.mixup import MixedBatch, mix_batch, mix_logits
from compress.train.curriculum.settings import Curriculum
from compress.train.distributed import data_parallel, shard_batch
from compress.train.features.hooks import capture
from compress.train.features.matched_layers import FeatureMatcher, TeacherTimer
from compress.train.loss_term import LossTerm, online_terms
from compress.train.lr_schedules import lr_factor
from compress.train.memory_format import memory_format_for
from compress.train.optimizers import build_optimizer
from compress.train.settings import Training
from compress.train.teachers.base import Teacher
from compress.train.teachers.online import TeacherOutputs, run_teacher
from compress.train.weighted_loss import WeightedLoss


class TrainStep:
    """Takes optimizer steps on one network.

    Args:
        accelerator: Device, precision and processes.
        module: The network, on its device.
        average: Its moving average, or None.
        training: Settings.
        task: Loss of hard labels.
        terms: Weighted sum to minimise.
        teacher: Whom the terms that need one imitate.
        matcher: What the terms see besides the answers; of the same terms.
        curriculum: Changes to batches, weights of samples and temperature.
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
        terms: Sequence[LossTerm],
        teacher: Teacher | None,
        matcher: FeatureMatcher,
        curriculum: Curriculum,
        after_step: Callable[[], None] | None,
    ) -> None:
        self.accelerator = accelerator
        self.module = module
        self.average = average
        self.training = training
        self.task = task
        self.terms = tuple(terms)
        self.teacher = teacher if any(term.needs for term in self.terms) else None
        self.needs_input_gradient = self.teacher is not None and any("input_gradient" in term.needs for term in self.terms)
        self.curriculum = curriculum
        self.weighted_loss = WeightedLoss(self.terms, matcher, task, training.label_smoothing, curriculum)
        self.online = self.teacher is not None and bool(online_terms(self.terms) or curriculum.mixes)
        self.matcher = matcher
        self.teacher_timer = TeacherTimer(accelerator.device)
        self.after_step = after_step
        self.parallel = data_parallel(accelerator, module)
        optimizer = build_optimizer(
            training.optimizer, module, lr=training.lr, weight_decay=training.weight_decay, loss_modules=matcher.loss_modules
        )
        self.optimizer = accelerator.prepare_optimizer(optimizer, device_placement=False)
        self.memory_format = memory_format_for(module, accelerator.device)

    def accumulate_gradients(self, group: Sequence[Batch], progress: float) -> Tensor:
        """Add up the gradients of the batches of one step, weighted by their sizes; this process's part of the mean loss.

        Args:
            group: The batches.
            progress: Fraction of all steps done, in [0, 1).
        """
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        total = sum(len(batch.targets) for batch in group)
        found = torch.zeros((), device=self.accelerator.device)
        for index, whole in enumerate(group):
            batch, weight = shard_batch(whole, total, rank=rank, world=world)
            last = index == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.parallel):
                loss = self._loss(batch, progress) * weight
                self._backward(loss * world)
            found += loss.detach()
        return found

    def update(self, step: int, steps: int) -> None:
        """Change the weights by the gradients at hand; `step` of `steps` decides on the learning rate."""
        training = self.training
        scale = lr_factor(step, steps, kind=training.schedule, warmup=training.warmup)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = training.lr * scale
        self._share_learned()
        if training.clip is not None:
            self.accelerator.clip_grad_norm_(
                [*self.module.parameters(), *self.matcher.loss_modules.parameters()], training.clip
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.after_step is not None:
            self.after_step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        if self.teacher is not None:
            self.teacher.after_step(self.module)

    def notes(self) -> tuple[str, ...]:
        """What a reviewer should know of the terms."""
        costly = ("the teacher ran at every step: losses on features or gradients, and mixed images, cannot use kept answers",)
        return (*self.matcher.notes(), *costly) if self.online else ()

    def found(self) -> tuple[str, ...]:
        """What was found during training and a reviewer should know: the weights of balanced losses."""
        if "balance" not in self.matcher.loss_modules:
            return ()
        balance: LossBalancer = self.matcher.loss_modules["balance"]  # type: ignore[assignment]
        pairs = zip(self.terms, balance.weights(), strict=True)
        factors = ", ".join(f"{name_of('loss', term)} × {term.weight:g} × {weight:.3g}" for term, weight in pairs)
        return (f"balance `{self.curriculum.balance}` ended with {factors}",)

    def _backward(self, loss: Tensor) -> None:
        try:
            self.accelerator.backward(loss)
        except RuntimeError as error:
            if not self.needs_input_gradient or "derivative for" not in str(error):
                raise
            msg = f"loss `jacobian` differentiates the student twice, and torch cannot for one of its layers ({error})"
            raise TrainingError(f"{msg}; leave it out, or use a student without that layer") from error

    def _share_learned(self) -> None:
        """Average the gradients of learned modules over the processes, as is done for the network's own."""
        if self.accelerator.num_processes > 1:
            for parameter in self.matcher.loss_modules.parameters():
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, "mean")

    def _loss(self, batch: Batch, progress: float) -> Tensor:
        device = self.accelerator.device
        changed = mix_batch(batch.inputs, self.curriculum) if self.curriculum.mixes else None
        given = batch.inputs if changed is None else changed.inputs
        inputs = given.to(device, non_blocking=True, memory_format=self.memory_format)
        if self.needs_input_gradient:
            inputs = inputs.detach().requires_grad_()
        here = batch._replace(inputs=inputs, targets=batch.targets.to(device, non_blocking=True))
        taught = self._ask(here, changed)
        with capture(self.module, self.matcher.student_hooks) as own, self.accelerator.autocast():
            student = self.parallel(inputs).float()
        if taught.logits is not None and taught.logits.shape != student.shape:
            classes = f"the teacher answers with {taught.logits.shape[1]} classes, the student with {student.shape[1]}"
            raise TrainingError(f"{classes}; both must have the data's classes, in its order")
        if self.teacher is not None:
            self.teacher.after_batch(here, student.detach())
        return self.weighted_loss.loss(here, student, own, taught, changed, progress)

    def _ask(self, batch: Batch, changed: MixedBatch | None) -> TeacherOutputs:
        """What the teacher gives for a batch, whose images may have been changed."""
        teacher = self.teacher
        if teacher is None:
            return TeacherOutputs()
        if online_terms(self.terms) or (changed is not None and teacher.networks(batch.inputs.device)):
            return run_teacher(teacher, batch, self.matcher, self.teacher_timer, gradient=self.needs_input_gradient)
        logits = teacher.logits(batch)
        return TeacherOutputs(
            mix_logits(logits, changed) if logits is not None and changed is not None and teacher.indexed_by_sample else logits
        )


def group_batches(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of `size` batches; the last may be shorter."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
