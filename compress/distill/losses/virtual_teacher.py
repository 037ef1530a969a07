"""Teacher-free distillation (Tf-KD): a virtual teacher that gives the right class a fixed probability.

Yuan et al. 2020, "Revisiting Knowledge Distillation via Label Smoothing Regularization", arXiv:1909.11723, section 4.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.response import response
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm

if TYPE_CHECKING:
    from torch import Tensor


def virtual_teacher(z: Tensor, y: Tensor, *, a: float, T: float | Tensor) -> Tensor:  # noqa: N803
    """Response loss against a teacher with probability a for the right class and equal probabilities for the others.

        L_n = T² · KL(p^d_T ‖ p_T),   p^d(k) = a for k = y, else (1 − a) / (K − 1),   p^d_T ∝ (p^d)^(1/T)

    Args:
        z: Logits, (N, K) with K over 1.
        y: Classes, int64 (N,); a sample without a label (negative) has loss 0.
        a: Probability of the right class, in (0, 1).
        T: Temperature, above 0, a number or (N,).

    Returns:
        Loss of each sample, (N,), 0 where the student has the same probabilities.
    """
    K = z.shape[1]  # noqa: N806
    z_d = z.new_full(z.shape, math.log((1 - a) / (K - 1)))
    z_d.scatter_(1, y.clamp(min=0).unsqueeze(1), math.log(a))
    per_sample = response(z, z_d, T=T)
    return per_sample.where(y >= 0, per_sample.new_zeros(()))


class VirtualTeacher(LossTerm):
    """`virtual_teacher:` in a recipe.

    Attributes:
        correct: a above.
        temperature: T above.
    """

    correct: float = Field(default=0.99, gt=0.0, lt=1.0)
    temperature: float = Field(default=20.0, gt=0.0)
    uses_labels: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `virtual_teacher`."""
        T = inputs.temperature_or(self.temperature)  # noqa: N806
        return virtual_teacher(inputs.student_logits, inputs.targets, a=self.correct, T=T)
