"""One optimizer step: gradients of one or more batches, then the update of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from compress.core.errors import TrainingError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.registry_field import name_of
from compress.data.batch import Batch, Tensors
from compress.train.curriculum.loss_balancing import LossBalancer
from compress.train.curriculum.mixup import MixedBatch, mix_batch, mix_logits
from compress.train.distributed import data_parallel, shard_batch
from compress.train.features.hooks import capture
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.loss_term import ATTENTION_MASK, online_terms
from compress.train.memory_format import memory_format_for
from compress.train.optimizers import build_optimizer, lr_factor
from compress.train.plan import TrainingPlan
from compress.train.router_balance import routed_layers, take_balance_loss
from compress.train.teachers.online import TeacherOutputs, TeacherTimer, run_teacher
from compress.train.training_mode import check_training_mode
from compress.train.weighted_loss import WeightedLoss


class TrainStep:
    """Optimizer steps on one network.

    Args:
        accelerator: Device, precision and processes.
        module: The network, on its device.
        average: Moving average of its weights, or None.
        plan: Settings, losses, teacher.
        matcher: Matched layers and loss modules of the terms.
        after_step: Called after each update of the weights, for example to set pruned weights to zero.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        average: AveragedModel | None,
        *,
        plan: TrainingPlan,
        matcher: FeatureMatcher,
        after_step: Callable[[], None] | None,
    ) -> None:
        self.accelerator = accelerator
        self.module = module
        self.average = average
        self.plan = plan
        self.training = training = plan.training
        self.task = plan.task
        self.terms = plan.active_terms
        self.teacher = plan.teacher if any(term.needs for term in self.terms) else None
        self.needs_input_gradient = self.teacher is not None and any("input_gradient" in term.needs for term in self.terms)
        self.curriculum = plan.curriculum
        self.weighted_loss = WeightedLoss(self.terms, matcher, plan.task, training.label_smoothing, plan.curriculum)
        self.online = self.teacher is not None and bool(online_terms(self.terms) or plan.curriculum.mixes)
        self.matcher = matcher
        self.auxiliary_outputs = check_training_mode(module, plan.data.spec, plan.task)
        self.teacher_timer = TeacherTimer(accelerator.device)
        self.after_step = after_step
        self.parallel = data_parallel(accelerator, module)
        optimizer = build_optimizer(
            training.optimizer, module, lr=training.lr, weight_decay=training.weight_decay, loss_modules=matcher.loss_modules
        )
        self.optimizer = accelerator.prepare_optimizer(optimizer, device_placement=False)
        self.memory_format = memory_format_for(module, accelerator.device)

    def accumulate_gradients(self, group: Sequence[Batch], progress: float) -> Tensor:
        """Add up the gradients of the batches of one step, weighted by their sizes.

        Args:
            group: The batches.
            progress: Fraction of all steps done, in [0, 1).

        Returns:
            The part of this process in the mean loss, a scalar.
        """
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        total = sum(batch.size for batch in group)
        mean_loss = torch.zeros((), device=self.accelerator.device)
        for index, whole_batch in enumerate(group):
            batch, weight = shard_batch(whole_batch, total, rank=rank, world=world)
            last = index == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.parallel):
                loss = self._loss(batch, progress) * weight
                self._backward(loss * world)
            mean_loss += loss.detach()
        return mean_loss

    def update(self, step: int, steps: int) -> None:
        """Update the weights by the accumulated gradients, with the learning rate of `step` of `steps`."""
        training = self.training
        factor = lr_factor(step, steps, kind=training.schedule, warmup=training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = training.lr * factor
        self._average_loss_module_gradients()
        if training.clip is not None:
            parameters = [*self.module.parameters(), *self.matcher.loss_modules.parameters()]
            self.accelerator.clip_grad_norm_(parameters, training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.after_step is not None:
            self.after_step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        if self.teacher is not None:
            self.teacher.after_step(self.module)

    def facts_before_training(self) -> tuple[Fact, ...]:
        """Facts: the matched layers, if the teacher runs in every step."""
        return (*self.matcher.facts(), Fact.of("train.teacher_online")) if self.online else ()

    def facts_after_training(self) -> tuple[Fact, ...]:
        """Facts: auxiliary outputs without a loss, learned layer maps, and the final factors of balanced losses."""
        count = self.auxiliary_outputs
        auxiliary = [Fact.of("train.auxiliary_outputs", count=count)] if count else []
        auxiliary += self.matcher.facts_after_training()
        if layers := [layer for layer in routed_layers(self.module) if layer.balance]:
            auxiliary.append(Fact.of("train.experts_balanced", layers=len(layers), balance=layers[0].balance))
        if "balance" not in self.matcher.loss_modules:
            return tuple(auxiliary)
        balancer: LossBalancer = self.matcher.loss_modules["balance"]  # type: ignore[assignment]
        losses = tuple(name_of("loss", term) for term in self.terms)
        weights = tuple(term.weight for term in self.terms)
        kind = str(self.curriculum.balance)
        return (
            *auxiliary,
            Fact.of("train.loss_factors", kind, losses=losses, weights=weights, factors=tuple(balancer.weights())),
        )

    def _backward(self, loss: Tensor) -> None:
        try:
            self.accelerator.backward(loss)
        except RuntimeError as error:
            if not self.needs_input_gradient or "derivative for" not in str(error):
                raise
            msg = gettext(
                "loss `jacobian` needs second derivatives of the student, which a layer does not have in torch ({error})",
                error=error,
            )
            raise TrainingError(gettext("{msg}; leave the loss out, or use a student without this layer", msg=msg)) from error

    def _average_loss_module_gradients(self) -> None:
        """Average the gradients of loss modules over the processes, as `data_parallel` does for the network."""
        if self.accelerator.num_processes > 1:
            for parameter in self.matcher.loss_modules.parameters():
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, "mean")

    def _loss(self, batch: Batch, progress: float) -> Tensor:
        device = self.accelerator.device
        mixed = mix_batch(batch.input, self.curriculum) if self.curriculum.mixes else None
        inputs = batch.inputs if mixed is None else dict.fromkeys(batch.inputs, mixed.inputs)
        on_device = batch._replace(inputs=self._inputs_on(device, inputs)).to(device)
        with capture(self.module, self.matcher.student_hooks) as activations, self.accelerator.autocast():
            outputs = _in_float32(self.task.training_forward(self.parallel, on_device.inputs, on_device.targets))
        rows = self.task.distillable(outputs, on_device.targets)
        teacher_batch = on_device._replace(targets=self.task.teacher_targets(outputs, on_device.targets))
        teacher = self._teacher_outputs(teacher_batch, mixed)
        if self.teacher is not None:
            any_width = all(term.any_width for term in self.terms if "teacher_logits" in term.needs)
            axes = 1 if self.teacher.own_classes or any_width else 2
            if teacher.logits is not None and teacher.logits.shape[:axes] != rows.logits.shape[:axes]:
                shapes = gettext(
                    "logits of the teacher are {shape}, of the student {shape_2}",
                    shape=tuple(teacher.logits.shape),
                    shape_2=tuple(rows.logits.shape),
                )
                raise TrainingError(
                    gettext("{shapes}; use networks whose outputs are the classes of the data, in their order", shapes=shapes)
                )
            self.teacher.after_batch(on_device, rows.logits.detach())
        loss = self.weighted_loss.loss(on_device, outputs, rows, activations, teacher, mixed, progress)
        balance = take_balance_loss(self.module, on_device.inputs.get(ATTENTION_MASK))
        return loss if balance is None else loss + balance

    def _inputs_on(self, device: torch.device, inputs: Tensors) -> Tensors:
        """The inputs on the device; images in the memory format of the network, floats with a gradient if a term needs it."""
        moved = {}
        for name, values in inputs.items():
            memory_format = self.memory_format if values.ndim == 4 else torch.preserve_format
            tensor = values.to(device, non_blocking=True, memory_format=memory_format)
            with_gradient = self.needs_input_gradient and tensor.is_floating_point()
            moved[name] = tensor.detach().requires_grad_() if with_gradient else tensor
        return moved

    def _teacher_outputs(self, batch: Batch, mixed: MixedBatch | None) -> TeacherOutputs:
        """The outputs of the teacher for a batch, whose images may be mixed."""
        teacher = self.teacher
        if teacher is None:
            return TeacherOutputs()
        if online_terms(self.terms) or (mixed is not None and teacher.networks(batch.device)):
            gradient = self.needs_input_gradient
            return run_teacher(teacher, batch, self.task, self.matcher, self.teacher_timer, gradient=gradient)
        logits = teacher.logits(batch)
        if logits is not None and mixed is not None and teacher.indexed_by_sample:
            logits = mix_logits(logits, mixed)
        further = () if logits is None else teacher.further_logits(batch)
        return TeacherOutputs(logits, further=further, shared=teacher.shared_classes)


def _in_float32(outputs: Tensors) -> Tensors:
    return {name: values.float() if values.is_floating_point() else values for name, values in outputs.items()}


def group_batches(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of `size` batches; the last list may be shorter."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
