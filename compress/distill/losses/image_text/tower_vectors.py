"""Vectors of both towers from the rows that a task with `paired_vectors` distils."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.errors import TrainingError
from compress.core.language import gettext

if TYPE_CHECKING:
    from torch import Tensor

    from compress.train.loss_term import LossInputs


def towers_of(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of images and of texts, of length 1, (N, D) each.

    Args:
        rows: Those of the images, then those of the texts, (2N, D); any length.
    """
    from torch.nn import functional as F

    images, texts = F.normalize(rows.float(), dim=1).chunk(2)
    return images, texts


def equal_towers(inputs: LossInputs, name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Vectors of the student and of the teacher, which are in one space.

    Args:
        inputs: Of the loss.
        name: Of the loss, for the message.

    Raises:
        TrainingError: The networks give vectors of different dimensions.
    """
    student, teacher = towers_of(inputs.student_logits), towers_of(inputs.require_teacher_logits())
    if student[0].shape[1] != teacher[0].shape[1]:
        msg = gettext(
            "loss {name} compares vectors of one space; the student's have {student} dimensions, the teacher's {teacher}: set "
            "args.dimensions of the student to {teacher}, which is its projection, or use affinity",
            name=name,
            student=student[0].shape[1],
            teacher=teacher[0].shape[1],
        )
        raise TrainingError(msg)
    return student, teacher
