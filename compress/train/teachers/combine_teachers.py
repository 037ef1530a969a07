"""Combination of the logits of several teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

CombineRule = Literal["mean", "confidence", "loss"]


def combine_logits(logits: Sequence[Tensor], y: Tensor | None, rule: CombineRule) -> Tensor:
    """Weighted mean of the logits of M teachers for each sample, z = Σ_m w_m z_m with Σ_m w_m = 1.

        mean          w_m = 1 / M
        confidence    w_m ∝ max_k softmax(z_m)_k
        loss          w_m = (1 − exp(ℓ_m) / Σ_j exp(ℓ_j)) / (M − 1), ℓ_m: cross-entropy of z_m with the label
                      (Zhang, Chen & Wang 2022, "Confidence-Aware Multi-Teacher Knowledge Distillation", arXiv:2201.00007)

    Args:
        logits: Logits of each teacher, (N, K).
        y: Classes, int64 (N,), or None. `loss` uses the mean without classes, and for samples without a label (negative).
        rule: Rule for the weights.

    Returns:
        Logits, (N, K).
    """
    z = torch.stack(list(logits))
    if rule == "mean" or len(z) == 1 or (rule == "loss" and y is None):
        return z.mean(dim=0)
    return (teacher_weights(z, y, rule).unsqueeze(2) * z).sum(dim=0)


def teacher_weights(z: Tensor, y: Tensor | None, rule: CombineRule) -> Tensor:
    """The weights w of `combine_logits`, (M, N), from logits z, (M, N, K)."""
    count = len(z)
    if rule == "confidence" or y is None:
        confidence = z.softmax(dim=2).amax(dim=2)
        return confidence / confidence.sum(dim=0)
    labels = y.clamp(min=0).expand(count, -1)
    loss = F.cross_entropy(z.transpose(1, 2), labels, reduction="none")
    weights = (1 - loss.softmax(dim=0)) / (count - 1)
    return weights.where(y >= 0, torch.full_like(weights, 1 / count))
