"""Decoupled distillation (DKD): separate weights for the target class and for the other classes.

Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.response import kl_divergence, log_softmax
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def dkd(z_s: Tensor, z_t: Tensor, y: Tensor, *, alpha: float, beta: float, T: float | Tensor) -> Tensor:  # noqa: N803
    """Divergence of the binary probabilities of the target class, and of the probabilities among the other classes.

        L_n = T² · [ α KL(b_t ‖ b_s) + β KL(q_t ‖ q_s) ]
        p = softmax(z / T),   b = (p_y, 1 − p_y),   q_k = p_k / (1 − p_y) for k ≠ y

    With α = 1 and β = 1 − p_t,y it would be `response` (equation 5 of the paper).

    Args:
        z_s: Student logits, (N, K) with K over 2, or the second part is 0.
        z_t: Teacher logits, (N, K).
        y: Classes, int64 (N,); a sample without a label (negative) takes the teacher's top-1 class.
        alpha: α, of the target class, at least 0.
        beta: β, of the others, at least 0.
        T: Temperature, above 0, a number or (N,).

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    import torch
    from torch.nn import functional as F

    target = F.one_hot(y.where(y >= 0, z_t.argmax(dim=1)), z_s.shape[1]).bool()

    def parts(z: Tensor) -> tuple[Tensor, Tensor]:
        log_p = log_softmax(z, T)
        others = log_p.masked_fill(target, -torch.inf).logsumexp(dim=1, keepdim=True)
        binary = torch.cat([log_p[target].unsqueeze(1), others], dim=1)
        return binary, (log_p - others)[~target].view(len(z), -1)

    (b_s, q_s), (b_t, q_t) = parts(z_s), parts(z_t)
    return T**2 * (alpha * kl_divergence(b_t, b_s) + beta * kl_divergence(q_t, q_s))


class Dkd(LossTerm):
    """`decoupled:` in a recipe.

    Attributes:
        alpha: α above.
        beta: β above.
        temperature: T above.
    """

    alpha: float = Field(default=1.0, ge=0.0)
    beta: float = Field(default=8.0, ge=0.0)
    temperature: float = Field(default=4.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)
    uses_labels: ClassVar[bool] = True

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `dkd`."""
        T = inputs.temperature_or(self.temperature)  # noqa: N806
        z_t, y = inputs.require_teacher_logits(), inputs.targets
        return dkd(inputs.student_logits, z_t, y, alpha=self.alpha, beta=self.beta, T=T)
