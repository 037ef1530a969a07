"""The training loop, used by every stage that trains.

    epoch:  batches ─► gradients and updates (optimizer_step.py) ─► … ─► validation ─► checkpoint

The random generators (dropout, stochastic depth) are seeded for each epoch, so the result of an interrupted and continued
training is bit-identical to that of an uninterrupted one; on a GPU only if its kernels are deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compress.backends.run_split import run_split
from compress.core.entries import State, mapping
from compress.core.errors import TrainingError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.progress import Bar, NullReporter, Reporter
from compress.core.seed_of import seed_of
from compress.train.adapters import Adapters, add_adapters
from compress.train.checkpoints import Checkpoints, clone_state, fingerprint_with_hook, hook_state, restore_hook, tensors_of
from compress.train.distributed import accelerated, broadcast_weights, run_on_main
from compress.train.history import History, TrainingProgress
from compress.train.memory_format import to_cpu, to_device
from compress.train.optimizer_step import TrainStep, group_batches
from compress.train.optimizers import moving_average
from compress.train.plan import TrainingPlan
from compress.train.seeding import derive_seed, preserve_rng
from compress.train.teachers.base import Teacher
from compress.train.teachers.online import build_feature_matcher
from compress.train.trackers import Tracker
from compress.train.trained_parts import TrainedParts

LOSS_CHECK_STEPS = 20
"""Number of steps between two reads of the loss on an accelerator, since each read waits for the device."""


def fit(
    module: nn.Module,
    plan: TrainingPlan,
    *,
    folder: Path,
    label: str = "train",
    device: str = "auto",
    reporter: Reporter | None = None,
    after_step: Callable[[], None] | None = None,
) -> History:
    """Train a network in place; afterwards it has the selected weights and is in eval mode on the CPU.

    A checkpoint is written to `folder` at the end of each epoch. A second call with the same arguments continues from it, or
    loads the result of a finished training. Files of another training with the same label are ignored, with a note.

    Under `accelerate launch` every process calls it with the same arguments and computes its part of every batch. All processes
    have the same weights afterwards; the first one writes the files.

    Args:
        module: The network, with the inputs and outputs of the task.
        plan: Settings, data, losses, teacher.
        folder: For checkpoints and the result.
        label: Prefix of the files, and label of the progress bar.
        device: `auto`, `cpu`, `cuda` or `mps`.
        reporter: Progress bar; None shows nothing.
        after_step: Called after each update of the weights; the state of a `StatefulHook` is part of the checkpoints.

    Returns:
        Curves and the best epoch.

    Raises:
        TrainingError: The loss is not finite, there are no parameters to train or no batches, the teacher of a term is
            missing or has other classes, no layer can have an adapter, or the parts to train have no weights.
        MissingPackageError: Adapters are wanted and peft is not installed.
        ModelError: A layer that a term names does not exist or cannot be matched, or there is no part of a name.
    """
    plan.validate()
    files = Checkpoints(folder, label, fingerprint_with_hook(plan.fingerprint(module), after_step))
    history = files.finished(module)
    if history is not None:
        module.eval()
        return history
    if not any(parameter.requires_grad for parameter in module.parameters()):
        msg = gettext(
            "{label}: all parameters are frozen (requires_grad=False), so none is trained; unfreeze some, or set epochs: 0",
            label=label,
        )
        raise TrainingError(msg)
    training = plan.training
    with (
        accelerated(device, training.precision) as accelerator,
        preserve_rng(accelerator.device),
        TrainedParts(module, training.parts) as parts,
    ):
        to_device(module, accelerator.device)
        try:
            matcher = build_feature_matcher(module, plan, accelerator.device)  # finds layers by the network's own parts
            adapters = _adapters(module, plan, after_step)
            average = None if training.ema is None else moving_average(module, training.ema)
            train_step = TrainStep(accelerator, module, average, plan=plan, matcher=matcher, after_step=after_step)
            return _Loop(train_step, files, adapters, parts).run(reporter or NullReporter())
        finally:
            to_cpu(module)


def _adapters(module: nn.Module, plan: TrainingPlan, after_step: Callable[[], None] | None) -> Adapters | None:
    """Adapters of the settings; errors as for `fit`."""
    if plan.training.lora is None:
        return None
    if after_step is not None:
        msg = gettext(
            "lora: this stage changes single weights after each step, such as pruned ones to 0, and adapters would change them "
            "again when they are merged; leave lora out, or prune whole channels or heads"
        )
        raise TrainingError(msg)
    if plan.curriculum.balance == "gradient_norm":
        msg = gettext("balance: gradient_norm compares gradients of weights, which lora does not train; use uncertainty")
        raise TrainingError(msg)
    return add_adapters(module, plan.training.lora, seed_of("adapters", plan.seed))


class _Loop:
    """A training in progress. `module` is trained; `evaluated` is the module itself or its moving average."""

    def __init__(self, train_step: TrainStep, files: Checkpoints, adapters: Adapters | None, parts: TrainedParts) -> None:
        plan = train_step.plan
        self.adapters, self.parts = adapters, parts
        self.train_step = train_step
        self.data = plan.data
        self.seed = plan.seed
        self.files = files
        self.accelerator: Accelerator = train_step.accelerator
        self.training = plan.training
        self.module = train_step.module
        self.evaluated: nn.Module = self.module if train_step.average is None else train_step.average.module
        self.steps = math.ceil(plan.data.train.batches(self.training.batch_size) / self.training.accumulate)
        self.progress = TrainingProgress()
        self.best: dict[str, Tensor] | None = None

    def run(self, reporter: Reporter) -> History:
        """Run the remaining epochs, load the selected weights into the module, and write the result."""
        self._restore()
        if self.train_step.teacher is not None:
            self._precompute_teacher(self.train_step.teacher)
        main = self.accelerator.is_main_process
        reporter = reporter if main else NullReporter()
        folder = self.files.folder / f"{self.files.label}.tensorboard"
        with (
            Tracker(self.training.tracker if main else None, folder) as tracker,
            reporter.bar(self.files.label, self.training.epochs * self.steps) as bar,
        ):
            if self.progress.epoch:
                bar.advance(self.progress.epoch * self.steps, "continued")
            while not self._finished():
                self._run_epoch(bar)
                tracker.add(self.progress.epoch, self._latest_values())
                if main and not self._finished():
                    self.files.save(self._state())
        self._load_selected_weights()
        if self.adapters is not None:
            self.progress.notes.append(self.adapters.fact)
            self.adapters.merge()
        history = self.progress.history(self.train_step.task.metric, self.train_step.matcher.rows())
        if main:
            self.files.finish(self.module, history)
        self.accelerator.wait_for_everyone()
        return history

    def _run_epoch(self, bar: Bar) -> None:
        loss = self._train(bar)
        self.progress.teacher_s = self.train_step.teacher_timer.seconds
        if self.train_step.teacher is not None:
            self.train_step.teacher.after_epoch(self.module, self.progress.epoch)
        loss_validation, metric = run_on_main(self.accelerator, self._validate)
        if not math.isfinite(loss_validation):
            raise TrainingError(
                self._with_advice(
                    gettext(
                        "the validation loss is {loss_validation} after epoch {epoch}",
                        loss_validation=loss_validation,
                        epoch=self.progress.epoch + 1,
                    )
                )
            )
        info = self.train_step.task.metric_info
        if math.isnan(metric):
            msg = gettext(
                "{label}: the {info_label} of {count} validation samples is not a number "
                "after epoch {epoch}: none of them has what it counts, such as a class or a box; give others",
                label=self.files.label,
                info_label=info.label,
                count=len(self.data.validation),
                epoch=self.progress.epoch + 1,
            )
            raise TrainingError(msg)
        if (
            self.progress.add(loss, loss_validation, metric, higher_is_better=info.higher_is_better)
            and self.training.keep == "best"
        ):
            self.best = clone_state(self.evaluated)

    def _train(self, bar: Bar) -> float:
        """Train for one pass over the training split; returns the mean loss of its steps."""
        epoch, training = self.progress.epoch, self.training
        torch.manual_seed(derive_seed(self.seed, epoch, self.accelerator.process_index))
        self.module.train()
        self.parts.set_modes()
        losses: list[float] = []
        unread: list[Tensor] = []
        check_steps = 1 if self.accelerator.device.type == "cpu" else LOSS_CHECK_STEPS
        batches = self.data.train.epoch(epoch, training.batch_size, self.seed)
        for step, group in enumerate(group_batches(batches, training.accumulate)):
            done, total = epoch * self.steps + step, training.epochs * self.steps
            unread.append(self.train_step.accumulate_gradients(group, done / total))
            if len(unread) == check_steps:
                losses += self._read_losses(unread, len(losses))
                unread = []
            self.train_step.update(done, total)
            bar.advance(1, self._bar_text(losses))
        losses += self._read_losses(unread, len(losses))
        if not losses:
            msg = gettext(
                "{label}: epoch {epoch} has no batch; check that the data source yields samples in every epoch",
                label=self.files.label,
                epoch=epoch + 1,
            )
            raise TrainingError(msg)
        return sum(losses) / len(losses)

    def _read_losses(self, unread: list[Tensor], before: int) -> list[float]:
        """Losses of the last steps, summed over the processes.

        Raises:
            TrainingError: A loss is not finite; the message names its epoch and step.
        """
        if not unread:
            return []
        losses: list[float] = self.accelerator.reduce(torch.stack(unread), "sum").tolist()
        for step, loss in enumerate(losses, start=before + 1):
            if not math.isfinite(loss):
                position = gettext(
                    "epoch {epoch}, step {step} of {steps}", epoch=self.progress.epoch + 1, step=step, steps=self.steps
                )
                raise TrainingError(
                    self._with_advice(gettext("the loss is {loss} in {position}", loss=loss, position=position))
                )
        return losses

    def _validate(self) -> tuple[float, float]:
        result = run_split(self.evaluated, self.data.validation, self.train_step.task, device=self.accelerator.device)
        return result.loss, result.metric

    def _finished(self) -> bool:
        """All epochs are done, or the metric has not improved for `patience` epochs."""
        progress, training = self.progress, self.training
        if progress.epoch >= training.epochs:
            return True
        return training.patience is not None and progress.epoch - progress.best_epoch >= training.patience

    def _load_selected_weights(self) -> None:
        """Load the best or the last weights into the module, and add the final notes."""
        if self.best is not None:
            self.module.load_state_dict(self.best)
        elif self.evaluated is not self.module:
            self.module.load_state_dict(self.evaluated.state_dict())
        broadcast_weights(self.accelerator, self.module)
        progress, training = self.progress, self.training
        progress.notes += self.train_step.facts_after_training()
        if progress.epoch < training.epochs:
            metric, patience = self.train_step.task.metric, training.patience
            progress.notes.append(
                Fact.of("train.stopped_early", epoch=progress.epoch, epochs=training.epochs, metric=metric, patience=patience)
            )

    def _precompute_teacher(self, teacher: Teacher) -> None:
        """Fill the cache of the teacher, and add its notes unless a checkpoint has them already."""
        remaining = range(self.progress.epoch, self.training.epochs)
        note = None if self.train_step.online else teacher.precompute(remaining, self.accelerator)
        notes = (*(() if note is None else (note,)), *self.train_step.facts_before_training())
        self.progress.notes += [fact for fact in notes if fact not in self.progress.notes]

    def _state(self) -> State:
        """The state for a checkpoint. If the best weights are those of this epoch, they are stored once."""
        scaler, average = self.accelerator.scaler, self.train_step.average
        return {
            "progress": self.progress.state_dict(),
            "module": self.module.state_dict(),
            "optimizer": self.train_step.optimizer.state_dict(),
            "average": None if average is None else average.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "learned": self.train_step.matcher.loss_modules.state_dict(),
            "teacher": {} if self.train_step.teacher is None else self.train_step.teacher.state_dict(),
            "hook": hook_state(self.train_step.after_step),
            "best": None if self.progress.best_epoch == self.progress.epoch else self.best,
        }

    def _restore(self) -> None:
        state, note = self.files.load()
        if note is not None:
            self.progress.notes.append(note)
        if state is None:
            return
        self.progress = TrainingProgress.from_state_dict(mapping(state, "progress"))
        self.module.load_state_dict(mapping(state, "module"))
        self.train_step.optimizer.load_state_dict(dict(mapping(state, "optimizer")))
        self.train_step.matcher.loss_modules.load_state_dict(mapping(state, "learned"))
        self.train_step.teacher_timer.seconds = self.progress.teacher_s
        if self.train_step.teacher is not None:
            self.train_step.teacher.load_state_dict(mapping(state, "teacher"))
        restore_hook(self.train_step.after_step, mapping(state, "hook"))
        if self.train_step.average is not None:
            self.train_step.average.load_state_dict(mapping(state, "average"))
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(dict(mapping(state, "scaler")))
        if self.training.keep == "best":
            self.best = tensors_of(state, "best") or clone_state(self.evaluated)

    def _latest_values(self) -> dict[str, float]:
        progress = self.progress
        metric = f"{self.train_step.task.metric}_validation"
        series = {"loss": progress.losses, "loss_validation": progress.losses_validation, metric: progress.metrics}
        return {name: values[-1] for name, values in series.items()}

    def _bar_text(self, losses: list[float]) -> str:
        loss = gettext(" loss {losses:.3f}", losses=losses[-1]) if losses else ""
        metric = gettext(" val {metrics:.3f}", metrics=self.progress.metrics[-1]) if self.progress.metrics else ""
        return gettext(
            "epoch {epoch}/{epochs}{loss}{metric}",
            epoch=self.progress.epoch + 1,
            epochs=self.training.epochs,
            loss=loss,
            metric=metric,
        )

    def _with_advice(self, problem: str) -> str:
        clip = "" if self.training.clip is not None else ", clip: 1.0"
        precision = "" if self.accelerator.mixed_precision == "no" else ", precision: no"
        return gettext(
            "{label}: {problem}; try a lower lr (now {lr:g}){clip}{precision}",
            label=self.files.label,
            problem=problem,
            lr=self.training.lr,
            clip=clip,
            precision=precision,
        )
