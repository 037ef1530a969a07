"""How much each sample counts and how soft the answers are: changed as training goes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 1e-12


def sample_weights(student: Tensor, teacher: Tensor | None, y: Tensor, how: str) -> Tensor:
    """Weight of each sample, in proportion to how hard it is, 1 on average.

        teacher_error    −log softmax(z_t)_y
        student_loss     −log softmax(z_s)_y
        disagreement     KL(softmax(z_t) ‖ softmax(z_s))

    Args:
        student: z_s, (N, K).
        teacher: z_t, (N, K); None while there is none: then all count alike, but for `student_loss`.
        y: Classes, int64 (N,); a sample without a label (negative) counts as the mean of those with one.
        how: See above.

    Returns:
        (N,), without gradient.
    """
    z_s = student.detach()
    if teacher is None and how != "student_loss":
        return torch.ones(len(z_s), device=z_s.device)
    if how == "disagreement":
        score = F.kl_div(z_s.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True).sum(1)  # type: ignore[union-attr]
    else:
        z = z_s if how == "student_loss" else teacher
        labelled = y >= 0
        score = F.cross_entropy(z, y.clamp(min=0), reduction="none")  # type: ignore[arg-type]
        mean = score[labelled].mean() if bool(labelled.any()) else score.new_ones(())
        score = score.where(labelled, mean)
    return score / score.mean().clamp(min=SMALLEST)


def entropy_temperature(z_t: Tensor, *, lowest: float, highest: float) -> Tensor:
    """Softer where the teacher is sure: T = T_low + (T_high − T_low) (1 − H(softmax(z_t)) / log K), (N,).

    Args:
        z_t: Teacher logits, (N, K) with K over 1.
        lowest: T_low, of an answer that knows nothing.
        highest: T_high, of one that is certain.
    """
    log_p = z_t.log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1) / math.log(z_t.shape[1])
    return lowest + (highest - lowest) * (1 - entropy.clamp(0, 1))


class LearnedTemperature(nn.Module):
    """A temperature that is learned to make imitation harder, by a reversed gradient that grows from easy to hard.

        T = T_low + (T_high − T_low) σ(θ)
        ∂L/∂θ reversed and scaled by λ = ½ (1 − cos π min(1, 4 t)), t the part of all steps done

    Li et al. 2023, "Curriculum Temperature for Knowledge Distillation", arXiv:2211.16231 (the global version).

    Args:
        lowest: T_low.
        highest: T_high.
    """

    def __init__(self, lowest: float, highest: float) -> None:
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.theta = nn.Parameter(torch.zeros(()))

    def forward(self, progress: float) -> Tensor:
        """The temperature at a part of all steps done, scalar."""
        strength = 0.5 * (1 - math.cos(math.pi * min(1.0, 4 * progress)))
        theta = -strength * self.theta + (1 + strength) * self.theta.detach()
        return self.lowest + (self.highest - self.lowest) * theta.sigmoid()
