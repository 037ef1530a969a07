"""DIST: the student's probabilities correlate with the teacher's, between classes and between samples.

Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher", arXiv:2205.10536.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.response import log_softmax
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-8


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of the rows of two matrices, (N, K) → (N,); 0 for a row without variation."""
    from torch.nn import functional as F

    return F.cosine_similarity(a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True), dim=1, eps=EPSILON)


def dist(z_s: Tensor, z_t: Tensor, *, beta: float, gamma: float, T: float) -> Tensor:  # noqa: N803
    """One minus the correlation between classes of a sample, and between samples for a class.

        L = T² · [ β (1 − mean_n ρ(p_s[n, :], p_t[n, :])) + γ (1 − mean_k ρ(p_s[:, k], p_t[:, k])) ],   p = softmax(z / T)

    Args:
        z_s: Student logits, (N, K) with N over 1.
        z_t: Teacher logits, (N, K).
        beta: β, of the relation between classes.
        gamma: γ, of the relation between samples.
        T: Temperature, above 0.

    Returns:
        Scalar from 0, where both agree, to 2 T² (β + γ).
    """
    p_s, p_t = log_softmax(z_s, T).exp(), log_softmax(z_t, T).exp()
    inter, intra = 1 - pearson(p_s, p_t), 1 - pearson(p_s.T, p_t.T)
    return T**2 * (beta * inter.mean() + gamma * intra.mean())


class Dist(LossTerm):
    """`dist:` in a recipe.

    Attributes:
        beta: β above.
        gamma: γ above.
        temperature: T above.
    """

    beta: float = Field(default=1.0, ge=0.0)
    gamma: float = Field(default=1.0, ge=0.0)
    temperature: float = Field(default=4.0, gt=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def forward(self, inputs: LossInputs) -> Tensor:
        """See `dist`; a curriculum changes neither its temperature nor the weights of its samples."""
        return dist(
            inputs.student_logits, inputs.require_teacher_logits(), beta=self.beta, gamma=self.gamma, T=self.temperature
        )
