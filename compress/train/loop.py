"""The only training loop: used by every stage that trains.

    epoch:  batches ─► gradients (steps.py) ─► weights ─► … ─► validation ─► checkpoint

Model-side randomness (dropout, stochastic depth) is seeded anew for each epoch, so a training that was interrupted and
continued ends with the same bits as one that was not. (On a GPU as far as its kernels add up in a fixed order.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compress.backends.run_split import run_split
from compress.core.errors import TrainingError
from compress.core.progress import Bar, NullReporter, Reporter
from compress.data.interface import Data
from compress.tasks.base import Task
from compress.train import after_step as hooks
from compress.train.checkpoints import Checkpoints, clone_state
from compress.train.checks import fingerprint, validate
from compress.train.curriculum.settings import Curriculum
from compress.train.distributed import accelerated, broadcast_weights, run_on_main
from compress.train.ema import moving_average
from compress.train.history import History, TrainingProgress
from compress.train.loss_term import LossTerm
from compress.train.memory_format import to_cpu, to_device
from compress.train.optimizer_step import TrainStep, group_batches
from compress.train.seeding import derive_seed, preserve_rng
from compress.train.settings import Training
from compress.train.teachers.base import Teacher
from compress.train.teachers.online import build_feature_matcher
from compress.train.trackers import Tracker

LOOK_EVERY = 20
"""Steps between two looks at the loss on an accelerator, where each look waits for the device."""


def fit(
    module: nn.Module,
    training: Training,
    *,
    data: Data,
    task: Task,
    terms: tuple[LossTerm, ...],
    seed: int,
    folder: Path,
    label: str = "train",
    teacher: Teacher | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
    after_step: Callable[[], None] | None = None,
    curriculum: Curriculum = Curriculum(),  # noqa: B008 - frozen
) -> History:
    """Train a network in place; it ends with the kept weights, in eval mode, on the CPU.

    At each epoch's end a checkpoint appears in `folder`. Called again with the same arguments after an interruption, it
    continues there; called again after it finished, it loads the result and returns at once. Files of another training
    under the same label (other settings, data or initial weights) are not continued, and a note says so.

    Under `accelerate launch` every process calls it with the same arguments; each computes its share of every batch, the
    first one writes the files, and all end with the same weights.

    Args:
        module: The network. Takes float32 (N, C, H, W), gives (N, K).
        training: Settings.
        data: Trains on `train`; decides on `validation`.
        task: Loss and metrics.
        terms: The loss is their weighted sum.
        seed: Of the order of the samples and of dropout. The initial weights are the module's own.
        folder: For checkpoints and the result.
        label: Names the files and the progress bar.
        teacher: Needed when a term needs one.
        device: `auto`, `cpu`, `cuda` or `mps`.
        reporter: Progress bar; None shows nothing.
        after_step: Called after each change of the weights; a `Hook` also has a state, which checkpoints hold.
        curriculum: What is shown when, and how much each sample counts.

    Returns:
        Curves and the best epoch.

    Raises:
        TrainingError: The loss is not finite, there is nothing to train on, or a term's teacher is missing or of other classes.
        ModelError: A layer that a term names does not exist or cannot be joined.
    """
    validate(training, data, terms, teacher)
    own = fingerprint(module, training, data, task, terms, seed, teacher, curriculum)
    files = Checkpoints(folder, label, hooks.fingerprint_with_hook(own, after_step))
    history = files.finished(module)
    if history is not None:
        module.eval()
        return history
    with accelerated(device, training.precision) as accelerator, preserve_rng(accelerator.device):
        to_device(module, accelerator.device)
        try:
            average = None if training.ema is None else moving_average(module, training.ema)
            weighted = tuple(term for term in terms if term.weight > 0)
            stepper = TrainStep(
                accelerator,
                module,
                average,
                training=training,
                task=task,
                terms=weighted,
                teacher=teacher,
                matcher=build_feature_matcher(
                    module, weighted, teacher, curriculum, data=data, seed=seed, device=accelerator.device
                ),
                curriculum=curriculum,
                after_step=after_step,
            )
            loop = _Loop(stepper, data, seed, files)
            history = loop.run(reporter if reporter is not None and accelerator.is_main_process else NullReporter())
            if accelerator.is_main_process:
                files.finish(module, history)
            accelerator.wait_for_everyone()
        finally:
            to_cpu(module)
    return history


class _Loop:
    """One training under way. `module` is trained; `kept` is what is evaluated: the module itself or its moving average."""

    def __init__(self, stepper: TrainStep, data: Data, seed: int, files: Checkpoints) -> None:
        self.train_step = stepper
        self.data = data
        self.seed = seed
        self.files = files
        self.accelerator: Accelerator = stepper.accelerator
        self.training = stepper.training
        self.module = stepper.module
        self.kept: nn.Module = self.module if stepper.average is None else stepper.average.module
        self.steps = math.ceil(data.train.batches(self.training.batch_size) / self.training.accumulate)
        self.progress = TrainingProgress()
        self.best: dict[str, Tensor] | None = None

    def run(self, reporter: Reporter) -> History:
        """All epochs that are left, then the kept weights go into the module."""
        self._restore()
        if self.train_step.teacher is not None:
            self._ask_teacher(self.train_step.teacher)
        main = self.accelerator.is_main_process
        folder = self.files.folder / f"{self.files.label}.tensorboard"
        with (
            Tracker(self.training.tracker if main else None, folder) as tracker,
            reporter.bar(self.files.label, self.training.epochs * self.steps) as bar,
        ):
            if self.progress.epoch:
                bar.advance(self.progress.epoch * self.steps, "continued")
            while not self._over():
                self._epoch(bar)
                tracker.add(self.progress.epoch, self._latest())
                if main and not self._over():
                    self.files.save(self._state())
        self._keep()
        return self.progress.history(self.train_step.task.metric, self.train_step.matcher.rows())

    def _epoch(self, bar: Bar) -> None:
        loss = self._train(bar)
        self.progress.teacher_s = self.train_step.teacher_timer.seconds
        if self.train_step.teacher is not None:
            self.train_step.teacher.after_epoch(self.module, self.progress.epoch)
        loss_validation, metric = run_on_main(self.accelerator, self._validate)
        if not math.isfinite(loss_validation):
            raise TrainingError(self._advice(f"the validation loss is {loss_validation} after epoch {self.progress.epoch + 1}"))
        if self.progress.add(loss, loss_validation, metric) and self.training.keep == "best":
            self.best = clone_state(self.kept)

    def _train(self, bar: Bar) -> float:
        """One pass over the training split; the mean loss of its steps."""
        epoch, training = self.progress.epoch, self.training
        torch.manual_seed(derive_seed(self.seed, epoch, self.accelerator.process_index))
        self.module.train()
        losses: list[float] = []
        waiting: list[Tensor] = []
        every = 1 if self.accelerator.device.type == "cpu" else LOOK_EVERY
        batches = self.data.train.epoch(epoch, training.batch_size, self.seed)
        for step, group in enumerate(group_batches(batches, training.accumulate)):
            done, total = epoch * self.steps + step, training.epochs * self.steps
            waiting.append(self.train_step.accumulate_gradients(group, done / total))
            if len(waiting) == every:
                losses += self._look(waiting, len(losses))
                waiting = []
            self.train_step.update(done, total)
            bar.advance(1, self._note(losses))
        losses += self._look(waiting, len(losses))
        if not losses:
            msg = f"{self.files.label}: epoch {epoch + 1} gave no batch; the data source is empty or used up"
            raise TrainingError(msg)
        return sum(losses) / len(losses)

    def _look(self, waiting: list[Tensor], before: int) -> list[float]:
        """Losses of the last steps, summed over the processes.

        Raises:
            TrainingError: One is not finite; the message names its epoch and step.
        """
        if not waiting:
            return []
        losses: list[float] = self.accelerator.reduce(torch.stack(waiting), "sum").tolist()
        for offset, loss in enumerate(losses, start=before + 1):
            if not math.isfinite(loss):
                where = f"epoch {self.progress.epoch + 1}, step {offset} of {self.steps}"
                raise TrainingError(self._advice(f"the loss is {loss} in {where}"))
        return losses

    def _validate(self) -> tuple[float, float]:
        result = run_split(self.kept, self.data.validation, self.train_step.task, device=self.accelerator.device)
        return result.loss, result.metric

    def _over(self) -> bool:
        """All epochs are done, or the metric has not improved for `patience` epochs."""
        progress, training = self.progress, self.training
        if progress.epoch >= training.epochs:
            return True
        return training.patience is not None and progress.epoch - progress.best_epoch >= training.patience

    def _keep(self) -> None:
        """Put the weights to keep into the module."""
        if self.best is not None:
            self.module.load_state_dict(self.best)
        elif self.kept is not self.module:
            self.module.load_state_dict(self.kept.state_dict())
        broadcast_weights(self.accelerator, self.module)
        self.progress.notes += self.train_step.found()
        if self.progress.epoch < self.training.epochs:
            metric, patience = self.train_step.task.metric, self.training.patience
            note = f"stopped early after epoch {self.progress.epoch} of {self.training.epochs}"
            self.progress.notes.append(f"{note}: no better validation {metric} for {patience} epochs")

    def _ask_teacher(self, teacher: Teacher) -> None:
        kept = not self.train_step.online
        note = teacher.precompute(range(self.progress.epoch, self.training.epochs), self.accelerator) if kept else ""
        self.progress.notes += [each for each in (note, *self.train_step.notes()) if each and each not in self.progress.notes]

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds. Best weights that are this epoch's own are not written twice."""
        scaler, average = self.accelerator.scaler, self.train_step.average
        return {
            "progress": asdict(self.progress),
            "module": self.module.state_dict(),
            "optimizer": self.train_step.optimizer.state_dict(),
            "average": None if average is None else average.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "learned": self.train_step.matcher.loss_modules.state_dict(),
            "teacher": {} if self.train_step.teacher is None else self.train_step.teacher.state_dict(),
            "hook": hooks.hook_state(self.train_step.after_step),
            "best": None if self.progress.best_epoch == self.progress.epoch else self.best,
        }

    def _restore(self) -> None:
        state, note = self.files.load()
        if note:
            self.progress.notes.append(note)
        if state is None:
            return
        self.progress = TrainingProgress(**state["progress"])
        self.module.load_state_dict(state["module"])
        self.train_step.optimizer.load_state_dict(state["optimizer"])
        self.train_step.matcher.loss_modules.load_state_dict(state["learned"])
        self.train_step.teacher_timer.seconds = self.progress.teacher_s
        if self.train_step.teacher is not None:
            self.train_step.teacher.load_state_dict(state["teacher"])
        hooks.restore_hook(self.train_step.after_step, state["hook"])
        if self.train_step.average is not None:
            self.train_step.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.training.keep == "best":
            self.best = state["best"] or clone_state(self.kept)

    def _latest(self) -> dict[str, float]:
        progress = self.progress
        series = {"loss": progress.losses, "loss_validation": progress.losses_validation}
        return {
            name: values[-1]
            for name, values in {**series, f"{self.train_step.task.metric}_validation": progress.metrics}.items()
        }

    def _note(self, losses: list[float]) -> str:
        loss = f" loss {losses[-1]:.3f}" if losses else ""
        found = f" val {self.progress.metrics[-1]:.3f}" if self.progress.metrics else ""
        return f"epoch {self.progress.epoch + 1}/{self.training.epochs}{loss}{found}"

    def _advice(self, what: str) -> str:
        clip = "" if self.training.clip is not None else ", clip: 1.0"
        precision = "" if self.accelerator.mixed_precision == "no" else ", precision: no"
        return f"{self.files.label}: {what}; try a lower lr (now {self.training.lr:g}){clip}{precision}"
