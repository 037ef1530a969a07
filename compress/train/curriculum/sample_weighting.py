"""Weights of samples and temperatures that change during training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-12


def sample_weights(student: Tensor, teacher: Tensor | None, y: Tensor, score: str) -> Tensor:
    """Weight of each sample, proportional to its difficulty, with mean 1.

        teacher_error    −log softmax(z_t)_y
        student_loss     −log softmax(z_s)_y
        disagreement     KL(softmax(z_t) ‖ softmax(z_s))

    Args:
        student: z_s, (N, K).
        teacher: z_t, (N, K); if it is None, all weights are 1, except for `student_loss`.
        y: Classes, int64 (N,); a sample without a label (negative) gets the mean score of samples with a label.
        score: Name of the measure of difficulty.

    Returns:
        (N,), without gradient.
    """
    z_s = student.detach()
    if score == "student_loss":
        scores = _cross_entropy(z_s, y)
    elif teacher is None:
        return torch.ones(len(z_s), device=z_s.device)
    elif score == "disagreement":
        scores = F.kl_div(z_s.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True).sum(1)
    else:
        scores = _cross_entropy(teacher, y)
    return scores / scores.mean().clamp(min=EPSILON)


def _cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each sample, (N,); the mean for samples without a label, 1 if no sample has a label."""
    labelled = y >= 0
    losses = F.cross_entropy(z, y.clamp(min=0), reduction="none")
    mean = losses[labelled].mean() if bool(labelled.any()) else losses.new_ones(())
    return losses.where(labelled, mean)


def entropy_temperature(z_t: Tensor, *, lowest: float, highest: float) -> Tensor:
    """Higher where the teacher is confident: T = T_low + (T_high − T_low) (1 − H(softmax(z_t)) / log K), (N,).

    Args:
        z_t: Teacher logits, (N, K), K > 1.
        lowest: T_low, for a uniform prediction.
        highest: T_high, for a one-hot prediction.
    """
    log_p = z_t.log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1) / math.log(z_t.shape[1])
    return lowest + (highest - lowest) * (1 - entropy.clamp(0, 1))


class LearnedTemperature(nn.Module):
    """A temperature that is trained to raise the loss of the student, by a reversed gradient whose scale rises from 0.

        T = T_low + (T_high − T_low) σ(θ)
        ∂L/∂θ is multiplied by −λ, λ = ½ (1 − cos(π min(1, 4 t))), t being the fraction of all steps done

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
        """The temperature at a fraction of all steps, a scalar."""
        lam = 0.5 * (1 - math.cos(math.pi * min(1.0, 4 * progress)))
        theta = -lam * self.theta + (1 + lam) * self.theta.detach()
        return self.lowest + (self.highest - self.lowest) * theta.sigmoid()
