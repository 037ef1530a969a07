"""Response distillation: the student imitates the teacher's softened probabilities.

Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def log_softmax(z: Tensor, T: float | Tensor) -> Tensor:  # noqa: N803
    """Logarithm of softmax(z / T), (N, K).

    Args:
        z: Logits, (N, K).
        T: Temperature above 0, a number or (N,).
    """
    return (z / T if isinstance(T, float | int) else z / T.reshape(-1, 1)).log_softmax(dim=1)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_k p_k (log p_k − log q_k) of each sample, (N,), at least 0.

    Args:
        log_p: Logarithm of the first distribution, (N, K).
        log_q: Logarithm of the second.
    """
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def response(z_s: Tensor, z_t: Tensor, *, T: float | Tensor) -> Tensor:  # noqa: N803
    """Kullback-Leibler divergence of softened probabilities.

        L_n = T² · Σ_k p_t log(p_t / p_s),   p = softmax(z / T)

    T² keeps the gradient's size independent of T (section 2 of the paper).

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        T: Temperature, above 0, a number or (N,); a larger T gives the wrong classes more weight.

    Returns:
        Loss of each sample, (N,), 0 where both agree.
    """
    return T**2 * kl_divergence(log_softmax(z_t, T), log_softmax(z_s, T))


class Response(LossTerm):
    """`response:` in a recipe.

    Attributes:
        temperature: T above.
    """

    temperature: float = Field(default=4.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `response`."""
        return response(inputs.student_logits, inputs.require_teacher_logits(), T=inputs.temperature_or(self.temperature))
