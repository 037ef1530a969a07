"""Response distillation of standardised logits, independent of their mean and scale.

Sun et al. 2024, "Logit Standardization in Knowledge Distillation", arXiv:2403.01427.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.response import response
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-7


def standardize(z: Tensor) -> Tensor:
    """Logits with mean 0 and standard deviation 1 in each sample: (z − mean_k z) / (σ_k(z) + ε), (N, K)."""
    return (z - z.mean(dim=1, keepdim=True)) / (z.std(dim=1, correction=0, keepdim=True) + EPSILON)


def standardized_response(z_s: Tensor, z_t: Tensor, *, T: float | Tensor) -> Tensor:  # noqa: N803
    """Response loss of standardised logits z̃.

        L_n = T² · KL(softmax(z̃_t / T) ‖ softmax(z̃_s / T))

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        T: Base temperature, above 0, a number or (N,).

    Returns:
        Loss of each sample, (N,), 0 where the student's logits are the teacher's up to a shift and a positive factor.
    """
    return response(standardize(z_s), standardize(z_t), T=T)


class LogitStandardization(LossTerm):
    """`logit_standardization:` in a recipe.

    Attributes:
        temperature: T above.
    """

    temperature: float = Field(default=2.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `standardized_response`."""
        return standardized_response(
            inputs.student_logits, inputs.require_teacher_logits(), T=inputs.temperature_or(self.temperature)
        )
