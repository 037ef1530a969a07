"""Squared error of the student's answers from the teacher's: for tasks whose answers are no classes, and for logits as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def squared_error(z_s: Tensor, z_t: Tensor) -> Tensor:
    """Squared distance of the answers, averaged over their components.

        L_n = 1/K ‖z_s − z_t‖²

    Ba & Caruana 2014, "Do Deep Nets Really Need to be Deep?", arXiv:1312.6184, section 2.2, regress logits so.

    Args:
        z_s: Student's rows, (R, K).
        z_t: Teacher's rows, (R, K).

    Returns:
        Loss of each row, (R,).
    """
    return (z_s - z_t).square().mean(dim=1)


class SquaredError(LossTerm):
    """See `squared_error`."""

    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """Loss of each row."""
        return squared_error(inputs.student_logits, inputs.require_teacher_logits())
