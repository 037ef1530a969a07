"""Generalised Jensen-Shannon divergence, between the forward (β → 0) and the reverse (β → 1) one.

Agarwal et al. 2024, "On-Policy Distillation of Language Models", arXiv:2306.13649, section 2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.response import kl_divergence, log_softmax
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def jensen_shannon(z_s: Tensor, z_t: Tensor, *, beta: float, T: float | Tensor) -> Tensor:  # noqa: N803
    """Weighted divergences of student and teacher from their mixture.

        L_n = T² · [ β KL(p_t ‖ m) + (1 − β) KL(p_s ‖ m) ],   m = β p_t + (1 − β) p_s,   p = softmax(z / T)

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        beta: β in (0, 1); ½ is the symmetric divergence.
        T: Temperature, above 0, a number or (N,).

    Returns:
        Loss of each sample, (N,), 0 where both agree, at most T² log 2.
    """
    log_p_s, log_p_t = log_softmax(z_s, T), log_softmax(z_t, T)
    log_m = (log_p_t + math.log(beta)).logaddexp(log_p_s + math.log1p(-beta))
    return T**2 * (beta * kl_divergence(log_p_t, log_m) + (1 - beta) * kl_divergence(log_p_s, log_m))


class JensenShannon(LossTerm):
    """`jensen_shannon:` in a recipe.

    Attributes:
        beta: β above.
        temperature: T above.
    """

    beta: float = Field(default=0.5, gt=0.0, lt=1.0)
    temperature: float = Field(default=1.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `jensen_shannon`."""
        T = inputs.temperature_or(self.temperature)  # noqa: N806
        return jensen_shannon(inputs.student_logits, inputs.require_teacher_logits(), beta=self.beta, T=T)
