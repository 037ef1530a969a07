"""Softened probabilities of the losses on logits: p = softmax(z / T)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def log_softmax(z: Tensor, T: float | Tensor) -> Tensor:  # noqa: N803
    """Logarithm of softmax(z / T), (N, K).

    Args:
        z: Logits, (N, K).
        T: Temperature over 0, a number or (N,).
    """
    return (z / T if isinstance(T, float | int) else z / T.reshape(-1, 1)).log_softmax(dim=1)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_k p_k (log p_k − log q_k) of each sample, (N,), at least 0.

    Args:
        log_p: Logarithm of the first distribution, (N, K).
        log_q: Logarithm of the second.
    """
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)
