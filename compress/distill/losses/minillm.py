"""MiniLLM: reverse Kullback–Leibler divergence of whole texts, by policy gradient on texts that the student draws.

    L = L_Long + L_Single + c · L_PT

    r_t      = log p_t(y_t) − log p_old(y_t)                                  reward of a token
    R_{t+1}  = Σ_{i > t} γ^{i−t−1} r_i / (T − t)                              reward of the rest, by its length T − t
    L_Long   = mean_t max(−R ρ, −R clip(ρ, 1 ± ε)),   ρ = w p_s(y_t) / p_old(y_t)
    L_Single = mean_t KL(p_s(· | s_t) ‖ p_t(· | s_t))                         expectation over the next token, in full
    L_PT     = ½ · CE + ½ · KL(p_t ‖ p_s) on texts of the data

w = p_old / p̃ is the importance of a token that was drawn from p̃, such as α p_t + (1 − α) p_s with the
`teacher_share` α of `generation`.

Gu et al. 2024, MiniLLM, arXiv:2306.08543, equations 2 to 8. The authors' program counts r_t in the reward as well as in
L_Single; here, as in the paper, the reward of a token starts after it where L_Single is on, and with it otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from compress.distill.losses.policy_gradient import (
    PolicyGradient,
    discounted_sums,
    next_rows,
    places,
    token_log_probs,
)
from compress.distill.losses.token_divergence import token_divergence
from compress.train.loss_term import POLICY, LossInputs

if TYPE_CHECKING:
    from torch import Tensor


def rewards_of_rest(rewards: Tensor, samples: Tensor, gamma: float, *, by_length: bool, after: bool) -> Tensor:
    """R_{t+1}, or R_t, (R,).

    Args:
        rewards: r, (R,).
        samples: Number of the text of each row, int64 (R,), not decreasing.
        gamma: γ in [0, 1].
        by_length: Whether a sum is divided by the number of its tokens, so that long texts have no larger rewards.
        after: Whether the sum starts after the token; its own reward is then not a part of it.
    """
    sums = discounted_sums(rewards, samples, gamma)
    counts = places(samples)[2] + (0 if after else 1)
    sums = next_rows(sums, samples) if after else sums
    return sums / counts.clamp(min=1) if by_length else sums


class MiniLlm(PolicyGradient):
    """`minillm:` in a recipe; defaults are those of the authors' program.

    Attributes:
        gamma: γ.
        length_normalization: Whether the reward of the rest of a text is divided by its length.
        single_step: Whether L_Single is a part of the loss.
        reward_clip: Largest absolute reward of a token.
        pretraining: c, factor of L_PT, the loss on batches of the data, with `generation: {student: λ}` below 1.
    """

    gamma: float = Field(default=0.95, ge=0.0, le=1.0)
    length_normalization: bool = True
    single_step: bool = True
    reward_clip: float = Field(default=100.0, gt=0.0)
    pretraining: float = Field(default=1.0, ge=0.0)

    def applies_to(self, *, sampled: bool) -> bool:
        """Texts of the student, and with `pretraining` all others."""
        return sampled or self.pretraining > 0.0

    def forward(self, inputs: LossInputs) -> Tensor:
        """The loss of a batch, see the module."""
        z_s, z_t = inputs.student_logits, inputs.require_teacher_logits()
        if not inputs.is_sampled:
            cross_entropy = -token_log_probs(z_s, inputs.targets).mean()
            return self.pretraining * 0.5 * (cross_entropy + token_divergence(z_s, z_t, kind="forward").mean())
        old = inputs.row_values(POLICY)
        rewards = (token_log_probs(z_t, inputs.targets) - old).clamp(-self.reward_clip, self.reward_clip)
        rest = rewards_of_rest(
            rewards, inputs.row_samples, self.gamma, by_length=self.length_normalization, after=self.single_step
        )
        loss = self.objective(inputs, self.shaped(rest, inputs))
        return loss + token_divergence(z_s, z_t, kind="reverse").mean() if self.single_step else loss
