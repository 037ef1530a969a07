"""Universal logit distillation: a teacher with another tokenizer teaches by its sorted probabilities.

    L = Σ_i |p_s(i) − p_t(i)|,   p(1) ≥ p(2) ≥ …, the shorter one continued by zeros

Boizard et al. 2024, arXiv:2402.12030, equation 6: the Wasserstein distance between two distributions whose classes are all
equally far apart. There tokens are compared by their place in the sequence; here tokens of the same bytes are, in groups, and a
group of several tokens is merged by the chain rule:

    log p(v, y_2 … y_n | s) = log p(v | s) + Σ_{i ≥ 2} log p(y_i | s, y_1 … y_{i−1})

so that the probability of the text that was written stays the same; Patiño et al. 2025, General On-Policy Logit Distillation
(GOLD). Networks with one tokenizer have groups of one token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor


def sorted_distance(p: Tensor, q: Tensor) -> Tensor:
    """Σ_i |p(i) − q(i)| of both sorted in descending order, (N,).

    Args:
        p: Probabilities, (N, K).
        q: Probabilities, (N, L); L may differ from K.
    """
    from torch.nn import functional as F

    width = max(p.shape[1], q.shape[1])
    first, second = (F.pad(each.sort(dim=1, descending=True).values, (0, width - each.shape[1])) for each in (p, q))
    return (first - second).abs().sum(dim=1)


def merge_groups(log_p: Tensor, tokens: Tensor, groups: Tensor) -> Tensor:
    """Log-probabilities of the tokens of each group by the chain rule, with any token in the first place, (G, K).

    Args:
        log_p: Logarithm of the probabilities of each token, (R, K).
        tokens: Tokens that were written, int64 (R,).
        groups: Number of the group of each token, int64 (R,), not decreasing from 0, without a gap; G is the last one and 1.
    """
    import torch

    count = int(groups[-1]) + 1 if len(groups) else 0
    is_first = torch.ones_like(groups, dtype=torch.bool)
    is_first[1:] = groups[1:] != groups[:-1]
    own = log_p.gather(1, tokens[:, None])[:, 0].masked_fill(is_first, 0.0)
    later = log_p.new_zeros(count).index_add(0, groups, own)
    return log_p[is_first] + later[:, None]


def grouped_rows(inputs: LossInputs) -> tuple[Tensor, Tensor] | None:
    """Log-probabilities of each group by the student, (G, K), and by the teacher, (G, L); None without a group.

    A row of the teacher stands at the first token of each group of the student's, merged; it is NaN at the other tokens of a
    group, and infinite at the first of tokens that are in no group.

    Args:
        inputs: Of a loss that merges tokens.
    """
    import torch

    z_s, log_p_t, samples = inputs.student_logits, inputs.require_teacher_logits(), inputs.row_samples
    begins = ~log_p_t.isnan().any(dim=1)
    numbers = begins.cumsum(0) - 1
    first = begins.nonzero()[:, 0][numbers.clamp(min=0)] if bool(begins.any()) else numbers
    inside = (numbers >= 0) & (samples == samples[first.clamp(min=0)]) & ~log_p_t[first.clamp(min=0)].isposinf().any(dim=1)
    if not bool(inside.any()):
        return None
    log_p_s = z_s.to(torch.promote_types(z_s.dtype, torch.float32)).log_softmax(dim=1)
    _, groups = torch.unique_consecutive(numbers[inside], return_inverse=True)
    merged = merge_groups(log_p_s[inside], inputs.targets[inside], groups)
    return merged, log_p_t[inside & begins]


class UniversalLogit(LossTerm):
    """`uld:` in a recipe."""

    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    merges_tokens: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows", "writes_text")

    def forward(self, inputs: LossInputs) -> Tensor:
        """Mean over the groups, a scalar, see the module; 0 without a group."""
        rows = grouped_rows(inputs)
        return inputs.student_logits.sum() * 0.0 if rows is None else sorted_distance(*(each.exp() for each in rows)).mean()
