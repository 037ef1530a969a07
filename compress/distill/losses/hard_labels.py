"""The task's own loss on hard labels, as a term among others."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.train.loss_term import LossInputs, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


class HardLabels(LossTerm):
    """`task:` in a recipe."""

    uses_labels: ClassVar[bool] = True

    def forward(self, inputs: LossInputs) -> Tensor:
        """The task's loss, averaged over the samples that have a label; 0 where none has."""
        return inputs.task_loss()
