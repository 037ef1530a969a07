"""Divergences of next-token distributions p_t of the teacher and p_s of the student, for language models.

    forward           KL(p_t ‖ p_s)                                    Hinton et al. 2015, arXiv:1503.02531
    reverse           KL(p_s ‖ p_t)                                    Gu et al. 2024, MiniLLM, arXiv:2306.08543
    jensen_shannon    (1 − β) KL(p_t ‖ m) + β KL(p_s ‖ m),   m = β p_t + (1 − β) p_s
    skew              KL(p_t ‖ α p_t + (1 − α) p_s)                    Ko et al. 2024, DistiLLM, arXiv:2402.03898
    reverse_skew      KL(p_s ‖ (1 − α) p_t + α p_s)                    the same
    total_variation   ½ Σ_k |p_t − p_s|                                Wen et al. 2023, f-DISTILL, arXiv:2307.15190
    gkd               β KL(p_t ‖ m) + (1 − β) KL(p_s ‖ m),   m = β p_t + (1 − β) p_s     the paper's form, see below
    adaptive          a KL(p_t ‖ p_s) + (1 − a) KL(p_s ‖ p_t),   a = g_head / (g_head + g_tail)
                      Wu et al. 2024, AKL, arXiv:2404.02657; g are Σ_k |p_t − p_s| over the likeliest classes of the teacher
                      that have half of its probability together, and over the others

This `jensen_shannon` is forward at β = 0 and reverse at β = 1, and continuous between. That of GKD (Agarwal et al. 2024,
arXiv:2306.13649), with the weights exchanged, goes to 0 as β goes to 0 or 1, so that β acts as a learning rate; at the ends
themselves it is forward (0) and reverse (1), as in the paper. It is `gkd` here; the loss `jensen_shannon` is the same between.

All are computed from logarithms of probabilities, in float32 or more, since those of a large vocabulary underflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compress.distill.losses.response import kl_divergence, log_softmax
from compress.tasks.capability import Capability
from compress.train.loss_term import LossInputs, LossTerm, Need

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["forward", "reverse", "jensen_shannon", "skew", "reverse_skew", "total_variation", "gkd", "adaptive"]


def log_mixture(log_p: Tensor, log_q: Tensor, weight: float) -> Tensor:
    """Logarithm of weight · p + (1 − weight) · q, (N, K).

    Args:
        log_p: Logarithm of the first distribution, (N, K).
        log_q: Logarithm of the second.
        weight: Weight of the first one, in [0, 1].
    """
    if weight in (0.0, 1.0):
        return log_p if weight else log_q
    return (log_p + math.log(weight)).logaddexp(log_q + math.log1p(-weight))


def forward_kl(log_p_s: Tensor, log_p_t: Tensor) -> Tensor:
    """KL(p_t ‖ p_s), (N,); arguments as for `skew_kl`."""
    return kl_divergence(log_p_t, log_p_s)


def reverse_kl(log_p_s: Tensor, log_p_t: Tensor) -> Tensor:
    """KL(p_s ‖ p_t), (N,); arguments as for `skew_kl`."""
    return kl_divergence(log_p_s, log_p_t)


def interpolated_kl(log_p_s: Tensor, log_p_t: Tensor, beta: float) -> Tensor:
    """(1 − β) KL(p_t ‖ m) + β KL(p_s ‖ m) with m = β p_t + (1 − β) p_s, (N,): forward at β = 0, reverse at β = 1.

    Args:
        log_p_s: Logarithm of the student's probabilities, (N, K).
        log_p_t: Logarithm of the teacher's probabilities, (N, K).
        beta: β in [0, 1].
    """
    log_m = log_mixture(log_p_t, log_p_s, beta)
    return (1.0 - beta) * kl_divergence(log_p_t, log_m) + beta * kl_divergence(log_p_s, log_m)


def skew_kl(log_p_s: Tensor, log_p_t: Tensor, alpha: float) -> Tensor:
    """KL(p_t ‖ α p_t + (1 − α) p_s), (N,), at most −log α; forward at α = 0.

    Args:
        log_p_s: Logarithm of the student's probabilities, (N, K).
        log_p_t: Logarithm of the teacher's probabilities, (N, K).
        alpha: α in [0, 1).
    """
    return kl_divergence(log_p_t, log_mixture(log_p_t, log_p_s, alpha))


def reverse_skew_kl(log_p_s: Tensor, log_p_t: Tensor, alpha: float) -> Tensor:
    """KL(p_s ‖ (1 − α) p_t + α p_s), (N,), at most −log α; reverse at α = 0; arguments as for `skew_kl`."""
    return kl_divergence(log_p_s, log_mixture(log_p_s, log_p_t, alpha))


def total_variation(log_p_s: Tensor, log_p_t: Tensor) -> Tensor:
    """½ Σ_k |p_t − p_s|, (N,), in [0, 1]; arguments as for `skew_kl`."""
    return 0.5 * (log_p_t.exp() - log_p_s.exp()).abs().sum(dim=1)


def gkd_divergence(log_p_s: Tensor, log_p_t: Tensor, beta: float) -> Tensor:
    """β KL(p_t ‖ m) + (1 − β) KL(p_s ‖ m), (N,); forward at β = 0 and reverse at β = 1; arguments as for `interpolated_kl`."""
    if beta in (0.0, 1.0):
        return reverse_kl(log_p_s, log_p_t) if beta else forward_kl(log_p_s, log_p_t)
    log_m = log_mixture(log_p_t, log_p_s, beta)
    return beta * kl_divergence(log_p_t, log_m) + (1.0 - beta) * kl_divergence(log_p_s, log_m)


def adaptive_kl(log_p_s: Tensor, log_p_t: Tensor, head: float = 0.5) -> Tensor:
    """A KL(p_t ‖ p_s) + (1 − a) KL(p_s ‖ p_t), (N,), where a has no gradient.

    Args:
        log_p_s: Logarithm of the student's probabilities, (N, K).
        log_p_t: Logarithm of the teacher's probabilities, (N, K).
        head: Probability of the teacher's likeliest classes that are its head, in (0, 1).
    """
    import torch

    ordered, places = log_p_t.exp().sort(dim=1, descending=True)
    in_head = torch.zeros_like(ordered).scatter(1, places, (ordered.cumsum(dim=1) - ordered < head).to(ordered)).bool()
    gap = (log_p_t.exp() - log_p_s.detach().exp()).abs()
    head_gap = gap.masked_fill(~in_head, 0.0).sum(dim=1)
    a = head_gap / gap.sum(dim=1).clamp_min(torch.finfo(gap.dtype).tiny)
    return a * forward_kl(log_p_s, log_p_t) + (1.0 - a) * reverse_kl(log_p_s, log_p_t)


def merge_rest(log_p_s: Tensor, log_p_t: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The teacher's k likeliest classes, and all others as one class, for both; (N, k + 1) each, or (N, K) if k ≥ K.

    No divergence grows by it, but `adaptive`, whose shares change; the student is not told how the rest is divided.

    Args:
        log_p_s: Logarithm of the student's probabilities, (N, K).
        log_p_t: Logarithm of the teacher's probabilities, (N, K).
        k: Number of classes that are kept, at least 1.
    """
    import torch

    if k >= log_p_t.shape[1]:
        return log_p_s, log_p_t
    top = log_p_t.topk(k, dim=1).indices
    merged = []
    for log_p in (log_p_s, log_p_t):
        rest = log_p.scatter(1, top, float("-inf")).logsumexp(dim=1, keepdim=True)
        merged.append(torch.cat([log_p.gather(1, top), rest], dim=1))
    return merged[0], merged[1]


def token_divergence(  # each option is one symbol of the formula
    z_s: Tensor,
    z_t: Tensor,
    *,
    kind: Kind,
    T: float | Tensor = 1.0,  # noqa: N803
    alpha: float = 0.1,
    beta: float = 0.5,
    top: int | None = None,
) -> Tensor:
    """T² times a divergence of softmax(z / T), see the module.

    Args:
        z_s: Student logits, (N, K).
        z_t: Teacher logits, (N, K).
        kind: The divergence.
        T: Temperature, above 0, a number or (N,).
        alpha: α of `skew` and `reverse_skew`.
        beta: β of `jensen_shannon` and `gkd`.
        top: Number of the teacher's likeliest classes that are told apart; None for all.

    Returns:
        Loss of each row, float32 (N,), float64 for inputs of float64; 0 where both agree.
    """
    import torch

    wide = torch.promote_types(torch.promote_types(z_s.dtype, z_t.dtype), torch.float32)
    log_p_s, log_p_t = log_softmax(z_s.to(wide), T), log_softmax(z_t.to(wide), T)
    if top is not None:
        log_p_s, log_p_t = merge_rest(log_p_s, log_p_t, top)
    divergences: dict[Kind, Callable[[], Tensor]] = {
        "forward": lambda: forward_kl(log_p_s, log_p_t),
        "reverse": lambda: reverse_kl(log_p_s, log_p_t),
        "jensen_shannon": lambda: interpolated_kl(log_p_s, log_p_t, beta),
        "skew": lambda: skew_kl(log_p_s, log_p_t, alpha),
        "reverse_skew": lambda: reverse_skew_kl(log_p_s, log_p_t, alpha),
        "total_variation": lambda: total_variation(log_p_s, log_p_t),
        "gkd": lambda: gkd_divergence(log_p_s, log_p_t, beta),
        "adaptive": lambda: adaptive_kl(log_p_s, log_p_t),
    }
    return T**2 * divergences[kind]()


class TokenDivergence(LossTerm):
    """`token_divergence:` in a recipe.

    Attributes:
        kind: The divergence, see the module.
        temperature: T above.
        alpha: α of `skew` and `reverse_skew`; 0.1 as in DistiLLM.
        beta: β of `jensen_shannon` and `gkd`; 0 is forward, 1 is reverse.
        top: The teacher's `top` likeliest tokens are told apart, the rest is one class; None tells all apart.
    """

    kind: Kind = "reverse"
    temperature: float = Field(default=1.0, gt=0.0)
    alpha: float = Field(default=0.1, ge=0.0, lt=1.0)
    beta: float = Field(default=0.5, ge=0.0, le=1.0)
    top: int | None = Field(default=None, ge=1)
    needs: ClassVar[tuple[Need, ...]] = ("teacher_logits",)
    aligns_tokens: ClassVar[bool] = True
    requires: ClassVar[tuple[Capability, ...]] = ("class_rows",)

    def per_sample(self, inputs: LossInputs) -> Tensor:
        """See `token_divergence`."""
        return token_divergence(
            inputs.student_logits,
            inputs.require_teacher_logits(),
            kind=self.kind,
            T=inputs.temperature_or(self.temperature),
            alpha=self.alpha,
            beta=self.beta,
            top=self.top,
        )
