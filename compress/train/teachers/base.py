"""What a training may ask of a teacher, whoever that is: networks with kept answers, the student's own past, a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compress.data.interface import Batch


class Teacher:
    """Somebody to imitate.

    Attributes:
        key: Identifies it: trainings with teachers of different keys are not continued into each other.
        ready: Whether its networks have something to teach yet.
        by_sample: Whether it answers by the number of a sample, whatever the image looks like.
    """

    key: str
    ready: bool = True
    indexed_by_sample: bool = False

    def logits(self, batch: Batch) -> Tensor | None:
        """Answers of a batch, float32 (N, K), without gradient, on the device of its inputs; None while there are none yet."""
        msg = f"{type(self).__name__} must define `logits`"
        raise NotImplementedError(msg)

    def networks(self, device: torch.device) -> list[nn.Module]:  # noqa: ARG002
        """Networks that losses on features may look into, on this device in eval mode."""
        return []

    def combine(self, answers: Sequence[Tensor], targets: Tensor) -> Tensor:  # noqa: ARG002
        """One answer (N, K) from those of all networks."""
        return torch.stack(list(answers)).mean(dim=0)

    def precompute(self, epochs: Iterable[int], accelerator: Accelerator | None = None) -> str:  # noqa: ARG002
        """Make ready for these epochs; a note for the record, or nothing."""
        return ""

    def before_training(self, student: nn.Module, device: torch.device) -> None:
        """Called once before the first step; the student is on its device."""

    def after_batch(self, batch: Batch, student: Tensor) -> None:
        """Called after each batch with the student's outputs, (N, K), without gradient."""

    def after_step(self, student: nn.Module) -> None:
        """Called after each change of the student's weights."""

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Called at the end of each epoch, counted from 0."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold: tensors and plain containers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave; called after `begin`."""
