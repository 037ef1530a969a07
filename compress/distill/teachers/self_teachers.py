"""Self-distillation teachers: an earlier snapshot, a moving average of the weights, the mean of the student's own outputs."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from compress.core.entries import State, mapping
from compress.core.environment import world_size
from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.core.stage import Context
from compress.data.batch import Batch
from compress.models.settings import ModelSettings
from compress.tasks.base import Task
from compress.train.checkpoints import tensor_of
from compress.train.optimizers import moving_average
from compress.train.teachers.base import Teacher
from compress.train.teachers.rows import distillable_rows


class SnapshotTeacher(Teacher):
    """The student as it was at the end of an earlier epoch.

    Args:
        every: Epochs between two snapshots.
        task: Runs the network.
    """

    def __init__(self, every: int, task: Task) -> None:
        self.key = f"snapshot {every}"
        self.every, self.task = every, task
        self.ready = False
        self._network: nn.Module = nn.Identity()

    def before_training(self, student: nn.Module, device: torch.device) -> None:  # noqa: ARG002
        """Copy the student as a container for snapshots."""
        self._network = copy.deepcopy(student).eval().requires_grad_(False)
        self.ready = False

    def networks(self, device: torch.device) -> list[nn.Module]:  # noqa: ARG002
        """The snapshot."""
        return [self._network]

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor | None:
        """Logits of the snapshot; None before the first."""
        return distillable_rows(self._network, batch, self.task) if self.ready else None

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Take a snapshot every `every` epochs."""
        if (epoch + 1) % self.every == 0:
            self._network.load_state_dict(student.state_dict())
            self.ready = True

    def state_dict(self) -> State:
        """The snapshot."""
        return {"ready": self.ready, "network": self._network.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore it."""
        self.ready = state["ready"] is True
        self._network.load_state_dict(mapping(state, "network"))


class MovingAverageTeacher(Teacher):
    """A moving average of the student's weights, as in `compress.train.optimizers`.

    Args:
        decay: Of the average.
        task: Runs the network.
    """

    def __init__(self, decay: float, task: Task) -> None:
        self.key = f"moving average {decay}"
        self.decay, self.task = decay, task
        self._average: AveragedModel | None = None

    def before_training(self, student: nn.Module, device: torch.device) -> None:  # noqa: ARG002
        """Start from the student."""
        self._average = moving_average(student, self.decay).eval().requires_grad_(False)

    def networks(self, device: torch.device) -> list[nn.Module]:  # noqa: ARG002
        """The average."""
        return [self._averaged().module]

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Logits of the average."""
        return distillable_rows(self._averaged().module, batch, self.task)

    def after_step(self, student: nn.Module) -> None:
        """Update the average."""
        self._averaged().update_parameters(student)

    def state_dict(self) -> State:
        """The average."""
        return {"average": self._averaged().state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore it."""
        self._averaged().load_state_dict(mapping(state, "average"))

    def _averaged(self) -> AveragedModel:
        if self._average is None:
            msg = gettext("call `before_training` first")
            raise RuntimeError(msg)
        return self._average


class EnsembleTeacher(Teacher):
    """The mean of the student's own probabilities of each sample over the epochs (temporal ensembling).

        Z ← α Z + (1 − α) p,   output log(Z / (1 − α^t)) after t epochs

    Args:
        momentum: α in [0, 1).
        samples: Of the training split.
        classes: K.
    """

    def __init__(self, momentum: float, samples: int, classes: int) -> None:
        self.key = f"ensemble {momentum}"
        self.momentum = momentum
        self._sums = torch.zeros(samples, classes)
        self._times = torch.zeros(samples, dtype=torch.int64)

    def before_training(self, student: nn.Module, device: torch.device) -> None:  # noqa: ARG002
        """Reset the sums.

        Raises:
            TrainingError: Several processes train, each with only a part of the outputs.
        """
        require_single_process("ensemble")
        self._sums, self._times = torch.zeros_like(self._sums, device=device), torch.zeros_like(self._times, device=device)

    def logits(self, batch: Batch) -> Tensor | None:
        """Logarithms of the mean probabilities; None where a sample of the batch has none yet."""
        samples = self._samples(batch)
        times = self._times[samples]
        if not bool(times.all()):
            return None
        mean = self._sums[samples] / (1 - self.momentum ** times.float()).unsqueeze(1)
        return mean.clamp(min=torch.finfo(torch.float32).tiny).log()

    def after_batch(self, batch: Batch, student: Tensor) -> None:
        """Add the student's probabilities."""
        samples = self._samples(batch)
        self._sums[samples] = self.momentum * self._sums[samples] + (1 - self.momentum) * student.softmax(dim=1)
        self._times[samples] += 1

    def state_dict(self) -> State:
        """The sums."""
        return {"sums": self._sums, "times": self._times}

    def load_state_dict(self, state: State) -> None:
        """Restore them."""
        self._sums = tensor_of(state, "sums").to(self._sums.device)
        self._times = tensor_of(state, "times").to(self._times.device)

    def _samples(self, batch: Batch) -> Tensor:
        if batch.samples is None:
            msg = gettext(
                "teacher `ensemble` needs numbered samples, and this data source does not number them; use `snapshot`"
            )
            raise TrainingError(msg)
        return batch.samples.to(self._sums.device)


def require_single_process(name: str) -> None:
    """Refuse a teacher that would differ from process to process.

    Raises:
        TrainingError: Several processes train.
    """
    if world_size() > 1:
        msg = gettext(
            "teacher {name!r} works in one process only, this launch has {world_size}; run without accelerate launch",
            name=name,
            world_size=world_size(),
        )
        raise TrainingError(msg)


def reinitialized(module: nn.Module, seed: int) -> nn.Module:
    """A copy with new random weights: every layer with `reset_parameters` is reinitialized, and frozen weights stay.

    Args:
        module: Not changed.
        seed: Seed of the weights.
    """
    network = copy.deepcopy(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in network.modules():
            reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
            if callable(reset) and not _is_frozen(layer):
                reset()
    with torch.no_grad():
        for parameter, original in zip(network.parameters(), module.parameters(), strict=True):
            if not original.requires_grad:
                parameter.copy_(original)
    return network


def _is_frozen(layer: nn.Module) -> bool:
    """Whether a layer has weights, and all are frozen; batch norm then keeps its statistics as well."""
    flags = [parameter.requires_grad for parameter in layer.parameters()]
    return bool(flags) and not any(flags)


def build_network(source: str, context: Context, seed: int) -> nn.Module:
    """A network for the data, with random weights.

    Raises:
        TrustError: `python:` without trust.
        ModelError: No such network, or it does not fit the data.
    """
    from compress.models.factory import build_model

    settings = ModelSettings(source=source)
    spec, task, base = context.data.spec, context.task, context.base
    return build_model(settings, spec, seed=seed, base=base, task=task, trust_code=context.trust_code).module
