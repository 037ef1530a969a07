"""Reverse divergence: the student keeps to what the teacher finds likely, and may leave some of it out.

Gu et al. 2024, "MiniLLM: Knowledge Distillation of Large Language Models", arXiv:2306.08543, section 2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.temperature import divergence, log_softened
from compress.train.loss_term import Answers, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def reverse(z_s: Tensor, z_t: Tensor, *, T: float | Tensor) -> Tensor:  # noqa: N803
    """Kullback-Leibler divergence with student and teacher exchanged.

        L_n = T² · Σ_k p_s log(p_s / p_t),   p = softmax(z / T)

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        T: Temperature, over 0, a number or (N,).

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    return T**2 * divergence(log_softened(z_s, T), log_softened(z_t, T))


class Reverse(LossTerm):
    """`reverse:` in a recipe.

    Attributes:
        temperature: T above.
    """

    temperature: float = Field(default=1.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)

    def each(self, answers: Answers) -> Tensor:
        """See `reverse`."""
        return reverse(answers.student, answers.teacher_logits(), T=answers.softness(self.temperature))
