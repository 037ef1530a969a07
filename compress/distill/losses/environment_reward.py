"""Policy gradient with the reward of an environment alone, beside losses of distillation.

    L = mean_t max(−A ρ, −A clip(ρ, 1 ± ε)),   A = R_t = Σ_{i ≥ t} γ^{i−t} r_i,   r_T = reward of the text, r_t = 0 before

whose gradient is that of −E[reward], minimum risk training by samples (Shen et al. 2016, arXiv:1512.02433). With a weight, and
with `token_divergence` or `minillm` as the other loss, both are learned together; `reward_weight` of `minillm` and `llmr` adds
the reward to theirs instead, so that one advantage is scaled.

Williams 1992, Simple statistical gradient-following algorithms for connectionist reinforcement learning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.distill.losses.policy_gradient import PolicyGradient, discounted_sums
from compress.train.loss_term import REWARD, LossInputs, Need

if TYPE_CHECKING:
    from torch import Tensor


class EnvironmentReward(PolicyGradient):
    """`environment_reward:` in a recipe, with `generation: {reward: …}`."""

    needs: ClassVar[tuple[Need, ...]] = ()

    @property
    def uses_reward(self) -> bool:
        """Yes."""
        return True

    def forward(self, inputs: LossInputs) -> Tensor:
        """The loss of a batch of the student's texts, see the module."""
        sums = discounted_sums(inputs.row_values(REWARD), inputs.row_samples, self.gamma)
        return self.objective(inputs, sums)
