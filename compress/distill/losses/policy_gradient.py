"""Policy gradients on texts that the student wrote: rewards of tokens, their sums, and the clipped objective.

Rows are the tokens of all texts, one text after the other: the row of token y_t has the state s_t, the tokens before it.
All functions are pure, on (R,) values of R rows or (R, V) logits, in float32 or more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.tasks.capability import Capability
from compress.train.loss_term import POLICY, REWARD, SAMPLED, LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_LOG_RATIO = 20.0
"""Largest logarithm of a ratio of probabilities, so that no product is infinite."""


def token_log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Logarithm of softmax(z)_y of each row, float32 (R,), float64 for inputs of float64.

    Args:
        logits: z, (R, V).
        tokens: y, int64 (R,).
    """
    import torch

    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(wide).log_softmax(dim=1).gather(1, tokens[:, None])[:, 0]


def places(samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Text, place in it, and number of later tokens of it, for each row; int64 (R,) each.

    Args:
        samples: Number of the text of each row, int64 (R,), not decreasing.
    """
    import torch

    changes = (samples[1:] != samples[:-1]).cumsum(0)
    text = torch.cat([changes.new_zeros(min(1, len(samples))), changes])
    counts = text.bincount()
    first = counts.cumsum(0) - counts
    place = torch.arange(len(samples), device=samples.device) - first[text]
    return text, place, counts[text] - 1 - place


def discounted_sums(rewards: Tensor, samples: Tensor, gamma: float) -> Tensor:
    """R_t = Σ_{i ≥ t} γ^{i−t} r_i over the tokens of the same text, (R,).

    Args:
        rewards: r, (R,).
        samples: Number of the text of each row, int64 (R,), not decreasing.
        gamma: γ in [0, 1].
    """
    import torch

    if not len(rewards):
        return rewards
    text, place, _ = places(samples)
    table = rewards.new_zeros(int(text[-1]) + 1, int(place.max()) + 1)
    table[text, place] = rewards
    columns, following = [], table.new_zeros(len(table))
    for column in reversed(table.unbind(dim=1)):
        following = column + gamma * following
        columns.append(following)
    return torch.stack(columns[::-1], dim=1)[text, place]


def next_rows(values: Tensor, samples: Tensor) -> Tensor:
    """The value of the next token of the same text, 0 for the last one, (R,).

    Args:
        values: One for each row, (R,).
        samples: Number of the text of each row, int64 (R,), not decreasing.
    """
    import torch

    following = torch.cat([values[1:], values.new_zeros(1)])
    return following.masked_fill(places(samples)[2] == 0, 0.0)


def whitened(values: Tensor) -> Tensor:
    """(x − mean) / √(variance + 10⁻⁸) over all rows, (R,): padding has no row, and no part in it."""
    return (values - values.mean()) * (values.var(unbiased=False) + 1e-8).rsqrt()


def clipped_objective(log_p: Tensor, log_p_old: Tensor, advantages: Tensor, weights: Tensor, clip: float) -> Tensor:
    """The loss of proximal policy optimization for each row, (R,), whose gradient raises log p where the advantage is positive.

        ρ = w · p / p_old,   L = max(−A ρ, −A min(max(ρ, 1 − ε), 1 + ε))

    Schulman et al. 2017, arXiv:1707.06347, equation 7.

    Args:
        log_p: log p of the tokens by the student, (R,), with gradient.
        log_p_old: The same when they were drawn, (R,).
        advantages: A, (R,).
        weights: w, importance of a token that was drawn from another distribution, (R,).
        clip: ε above 0; infinite for no limit.
    """
    import torch

    ratio = weights * (log_p - log_p_old).clamp(max=LARGEST_LOG_RATIO).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1.0 - clip, 1.0 + clip))


class PolicyGradient(LossTerm):
    """Base class of losses by rewards of the tokens that the student drew.

    Attributes:
        gamma: γ, discount of later rewards.
        clip: ε of the clipped objective.
        whiten: Whether sums of rewards are scaled to mean 0 and variance 1 over the tokens of a batch.
        reward_weight: Factor of the reward of `generation: {reward: …}`, which is added to that of the last token.
    """

    gamma: float = Field(default=1.0, ge=0.0, le=1.0)
    clip: float = Field(default=0.2, gt=0.0)
    whiten: bool = True
    reward_weight: float = Field(default=0.0, ge=0.0)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows", "writes_text")
    needs_samples: ClassVar[bool] = True

    def applies_to(self, *, sampled: bool) -> bool:
        """Texts of the student alone."""
        return sampled

    @property
    def uses_reward(self) -> bool:
        """Whether it uses the reward of an environment."""
        return self.reward_weight > 0.0

    def shaped(self, sums: Tensor, inputs: LossInputs) -> Tensor:
        """Sums of rewards with those of the environment, R_t + w Σ_{i ≥ t} γ^{i−t} e_i, (R,).

        Args:
            sums: R, (R,).
            inputs: Of a batch of the student's texts.
        """
        if not self.uses_reward:
            return sums
        return sums + self.reward_weight * discounted_sums(inputs.row_values(REWARD), inputs.row_samples, self.gamma)

    def objective(self, inputs: LossInputs, advantages: Tensor) -> Tensor:
        """Mean of the clipped objective over the tokens, a scalar; tokens of a mixture have their importance.

        Args:
            inputs: Of a batch of the student's texts.
            advantages: A, (R,).
        """
        old, sampled = inputs.row_values(POLICY), inputs.row_values(SAMPLED)
        weights = (old - sampled).clamp(max=LARGEST_LOG_RATIO).exp()
        log_p = token_log_probs(inputs.student_logits, inputs.targets)
        scaled = whitened(advantages) if self.whiten else advantages
        return clipped_objective(log_p, old, scaled.detach(), weights, self.clip).mean()
