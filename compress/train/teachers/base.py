"""Interface of teachers, such as networks with cached logits, an average of the student's weights, or a file of soft labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compress.core.entries import State
from compress.core.fact import Fact
from compress.data.batch import Batch, Tensors


class Teacher:
    """A source of target logits.

    Attributes:
        key: Identity; a training does not continue from a checkpoint with another key.
        ready: Whether its networks have useful outputs yet.
        own_classes: Whether its rows have other classes than the student's, such as tokens of another tokenizer.
        shared_classes: Where its classes are others, those that both have, int64 (S,) each: the student's, and its own.
        indexed_by_sample: Whether its logits depend only on the index of a sample, not on the pixels.
    """

    key: str
    ready: bool = True
    own_classes: bool = False
    shared_classes: tuple[Tensor, Tensor] | None = None
    indexed_by_sample: bool = False

    def logits(self, batch: Batch) -> Tensor | None:
        """Rows of a batch, float32 (R, K), without gradient, on the device of its inputs; None if it has none yet."""
        msg = f"{type(self).__name__} must define `logits`"
        raise NotImplementedError(msg)

    def further_logits(self, batch: Batch) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Rows of further passes over a batch, for a teacher whose passes differ; losses are averaged over all passes."""
        return ()

    def networks(self, device: torch.device) -> list[nn.Module]:  # noqa: ARG002
        """Networks for losses on features, on this device in eval mode."""
        return []

    def combine(self, logits: Sequence[Tensor], targets: Tensors) -> Tensor:  # noqa: ARG002
        """Combine the rows of all networks into one (R, K)."""
        return torch.stack(list(logits)).mean(dim=0)

    def precompute(self, epochs: Iterable[int], accelerator: Accelerator | None = None) -> Fact | None:  # noqa: ARG002
        """Compute the logits of these epochs in advance; returns a fact for the record, or None."""
        return None

    def before_training(self, student: nn.Module, device: torch.device) -> None:
        """Called once before the first step; the student is on `device`."""

    def after_batch(self, batch: Batch, student_logits: Tensor) -> None:
        """Called after each batch with the logits of the student, (N, K), without gradient."""

    def after_step(self, student: nn.Module) -> None:
        """Called after each update of the student's weights."""

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Called at the end of each epoch, counted from 0."""

    def state_dict(self) -> State:
        """State for a checkpoint: tensors and plain containers."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Continue from a state; called after `before_training`."""
