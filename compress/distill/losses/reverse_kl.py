"""Reverse KL divergence: mode-seeking; the student avoids classes that the teacher finds unlikely.

Gu et al. 2024, "MiniLLM: Knowledge Distillation of Large Language Models", arXiv:2306.08543, section 2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.response import kl_divergence, log_softmax
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def reverse_kl(z_s: Tensor, z_t: Tensor, *, T: float | Tensor) -> Tensor:  # noqa: N803
    """Kullback-Leibler divergence with student and teacher exchanged.

        L_n = T² · Σ_k p_s log(p_s / p_t),   p = softmax(z / T)

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        T: Temperature, above 0, a number or (N,).

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    return T**2 * kl_divergence(log_softmax(z_s, T), log_softmax(z_t, T))


class ReverseKL(LossTerm):
    """`reverse:` in a recipe.

    Attributes:
        temperature: T above.
    """

    temperature: float = Field(default=1.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `reverse_kl`."""
        return reverse_kl(inputs.student_logits, inputs.require_teacher_logits(), T=inputs.temperature_or(self.temperature))
