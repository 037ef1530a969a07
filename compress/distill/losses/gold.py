"""The hybrid loss of GOLD: a teacher with another tokenizer teaches the tokens that both have by name, and the rest by rank.

    L = α JSD_β(p_t, p_s) + (1 − α) Σ_i |p_s(i) − p_t(i)|

The divergence is over the S tokens that both vocabularies have, and the others as one class; the sum is over the others of
each, sorted in descending order, as in `uld`. α is S over the size of the teacher's vocabulary. Groups of tokens are merged as
in `uld`. With one vocabulary L is the divergence `jensen_shannon`, and without a common token it is `uld`.

Patiño et al. 2025, General On-Policy Logit Distillation (GOLD), as in TRL, where the divergence has no class for the others, so
that it may be negative.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.distill.losses.uld import grouped_rows, sorted_distance
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-30
"""Smallest probability of the class of the others, whose logarithm is taken."""


def hybrid_distance(
    log_p_s: Tensor, log_p_t: Tensor, shared: tuple[Tensor, Tensor], *, beta: float, alpha: float | None = None
) -> Tensor:
    """L of each row, (N,), see the module.

    Args:
        log_p_s: Log-probabilities of the student, (N, K); after a merge their sum may be below 1.
        log_p_t: The same of the teacher, (N, L).
        shared: Tokens of the student and of the teacher that are the same, int64 (S,) each.
        beta: β in (0, 1), as in `jensen_shannon`.
        alpha: α in [0, 1]; None for S / L.
    """
    import torch

    masses = []
    others = []
    for log_p, own in zip((log_p_s, log_p_t), shared, strict=True):
        is_other = torch.ones(log_p.shape[1], dtype=torch.bool, device=log_p.device)
        is_other[own] = False
        others.append(log_p[:, is_other].exp())
        rest = others[-1].sum(dim=1, keepdim=True).clamp(min=SMALLEST).log()
        masses.append(torch.cat([log_p[:, own], rest], dim=1))
    s, t = masses
    m = (t + math.log(beta)).logaddexp(s + math.log1p(-beta))
    divergence = (beta * t.exp() * (t - m) + (1 - beta) * s.exp() * (s - m)).sum(dim=1)
    share = len(shared[0]) / log_p_t.shape[1] if alpha is None else alpha
    return share * divergence + (1 - share) * sorted_distance(*others)


class GeneralLogit(LossTerm):
    """`gold:` in a recipe.

    Attributes:
        beta: β above.
        alpha: α above; None for the share of the teacher's vocabulary that both have.
    """

    beta: float = Field(default=0.5, gt=0.0, lt=1.0)
    alpha: float | None = Field(default=None, ge=0.0, le=1.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    merges_tokens: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows", "writes_text")

    def forward(self, inputs: LossInputs) -> Tensor:
        """Mean over the groups, a scalar, see the module; 0 without a group."""
        import torch

        rows = grouped_rows(inputs)
        if rows is None:
            return inputs.student_logits.sum() * 0.0
        student, teacher = rows
        shared = inputs.shared_classes
        if shared is None:  # one tokenizer; tables may have rows of no token behind the others
            both = torch.arange(min(student.shape[1], teacher.shape[1]), device=student.device)
            shared = both, both
        own, theirs = (each.to(student.device) for each in shared)
        return hybrid_distance(student, teacher, (own, theirs), beta=self.beta, alpha=self.alpha).mean()
