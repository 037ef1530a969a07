"""Affinity mimicking: the student's similarities of all images and texts of a batch are those of the teacher.

Wu et al. 2023, TinyCLIP, arXiv:2309.12314, section 3.1; the contrastive relational distillation of Yang et al. 2024, CLIP-KD,
arXiv:2307.12732, section 3.2, is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.image_text.tower_vectors import towers_of
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.capability import Capability


def affinity(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], *, temperature: float, teacher_temperature: float
) -> Tensor:
    """Divergence of the similarity matrices of the student from those of the teacher.

        A_I→T = softmax_j(v_i·t_j / τ),   A_T→I = softmax_j(t_i·v_j / τ)
        L = ½ mean_i [ KL(A^T_I→T ‖ A^S_I→T) + KL(A^T_T→I ‖ A^S_T→I) ]

    TinyCLIP has the sum of the cross-entropies, whose gradient is twice that of L.

    Args:
        student: v and t of the student, of length 1, (N, D) each.
        teacher: v and t of the teacher, of length 1, (N, D') each.
        temperature: τ of the student.
        teacher_temperature: τ of the teacher.

    Returns:
        Scalar, 0 where the matrices are equal.
    """
    from torch.nn import functional as F

    z_s, z_t = student[0] @ student[1].T / temperature, teacher[0] @ teacher[1].T / teacher_temperature
    ways = [(z_s.log_softmax(dim=1), z_t.log_softmax(dim=1)), (z_s.T.log_softmax(dim=1), z_t.T.log_softmax(dim=1))]
    terms = [F.kl_div(own, other, reduction="batchmean", log_target=True) for own, other in ways]
    return (terms[0] + terms[1]) / 2


class Affinity(LossTerm):
    """`affinity:` in a recipe. The vectors of the networks may have different dimensions.

    Attributes:
        temperature: τ of the student; smaller ones weight the most similar pairs more.
        teacher_temperature: τ of the teacher; None for that of the student.
    """

    temperature: float = Field(default=0.07, gt=0.0)
    teacher_temperature: float | None = Field(default=None, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("paired_vectors",)
    any_width: ClassVar[bool] = True

    def forward(self, inputs: LossInputs) -> Tensor:
        """See `affinity`."""
        return affinity(
            towers_of(inputs.student_logits),
            towers_of(inputs.require_teacher_logits()),
            temperature=self.temperature,
            teacher_temperature=self.teacher_temperature or self.temperature,
        )
