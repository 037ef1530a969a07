"""LLMR: policy gradient with a reward that the teacher's logits induce, on texts that the student draws.

    r(s_t, y_t) = q_t(s_t, y_t) − max_a q_t(s_{t+1}, a),   L = −mean_t R_t log p_s(y_t),   R_t = Σ_{i ≥ t} γ^{i−t} r_i

q_t are the teacher's logits, read as values of tokens; after the last token of a text nothing follows, and the maximum is 0. A
constant c(s) on the logits of a state changes R_t with γ = 1 by c(s_t), alike for all tokens y_t: it changes no expected
gradient.

Li et al. 2024, LLMR, arXiv:2409.12500; the reward is that of Hao et al. 2022, arXiv:2210.08708. The gradient has the clipped
form of `policy_gradient`, which is the same in the first pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.distill.losses.policy_gradient import PolicyGradient, discounted_sums, next_rows
from compress.train.loss_term import LossInputs

if TYPE_CHECKING:
    from torch import Tensor


def induced_rewards(z_t: Tensor, tokens: Tensor, samples: Tensor) -> Tensor:
    """Reward r of each row, float32 (R,), float64 for inputs of float64.

    Args:
        z_t: q, logits of the teacher, (R, V).
        tokens: y, int64 (R,).
        samples: Number of the text of each row, int64 (R,), not decreasing.
    """
    import torch

    q = z_t.to(torch.promote_types(z_t.dtype, torch.float32))
    return q.gather(1, tokens[:, None])[:, 0] - next_rows(q.amax(dim=1), samples)


class Llmr(PolicyGradient):
    """`llmr:` in a recipe."""

    def forward(self, inputs: LossInputs) -> Tensor:
        """The loss of a batch of the student's texts, see the module."""
        samples = inputs.row_samples
        rewards = induced_rewards(inputs.require_teacher_logits(), inputs.targets, samples)
        sums = discounted_sums(rewards, samples, self.gamma)
        return self.objective(inputs, self.shaped(sums, inputs))
