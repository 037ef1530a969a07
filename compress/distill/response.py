"""Response distillation: the student imitates the teacher's softened answers.

Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.train.terms import Answers, Need, Term

if TYPE_CHECKING:
    from torch import Tensor


def response(z_s: Tensor, z_t: Tensor, *, T: float) -> Tensor:  # noqa: N803
    """Kullback-Leibler divergence of softened answers.

        L = T² · mean_n Σ_k p_t log(p_t / p_s),   p = softmax(z / T)

    T² keeps the gradient's size independent of T (section 2 of the paper).

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        T: Temperature, over 0; 1 leaves the answers as they are, larger shows more of the wrong classes' order.

    Returns:
        Scalar, 0 where both agree.
    """
    from torch.nn import functional as F

    log_p_s = F.log_softmax(z_s / T, dim=1)
    log_p_t = F.log_softmax(z_t / T, dim=1)
    return T**2 * F.kl_div(log_p_s, log_p_t, reduction="batchmean", log_target=True)


class Response(Term):
    """`response:` in a recipe.

    Attributes:
        temperature: T above.
    """

    temperature: float = Field(default=4.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)

    def value(self, answers: Answers) -> Tensor:
        """See `response`."""
        return response(answers.student, answers.teacher_logits(), T=self.temperature)
