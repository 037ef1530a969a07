"""Weights of the losses that are found during training: by uncertainty, or by the norms of their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from compress.core.environment import world_size

RATE = 0.025
"""Of the change of a weight at each step; the paper's own."""


class LossBalancer(Protocol):
    """What weighs the losses of one training, by their place in the list."""

    def __call__(self, losses: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The losses, weighted."""

    def weights(self) -> list[float]:
        """The factors as they are now."""


class UncertaintyWeighting(nn.Module):
    """Weights of the losses that are learned: Σ_i ½ (exp(−s_i) L_i + s_i), with s_i = 0 at first.

    Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", arXiv:1705.07115.

    Args:
        terms: How many losses.
    """

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(terms))

    def forward(self, losses: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The losses, weighted."""
        return {i: 0.5 * ((-self.s[i]).exp() * loss + self.s[i]) for i, loss in losses.items()}

    def weights(self) -> list[float]:
        """½ exp(−s_i)."""
        return [float(weight) for weight in 0.5 * (-self.s.detach()).exp()]


class GradNorm(nn.Module):
    """GradNorm: weights under which all losses train at a similar rate. The weights are buffers, not parameters.

    Chen et al. 2018, "GradNorm: Gradient Normalization for Adaptive Loss Balancing", arXiv:1711.02257. See `gradnorm_update`.
    W is the last weight of the network that receives a gradient from every loss: the head's for losses on logits, that of an
    earlier layer for losses on features.

    Args:
        terms: How many losses, T.
        network: Whose weights are trained.
        alpha: α, the strength that pulls the losses to a common rate.
    """

    w: Tensor
    first: Tensor

    def __init__(self, terms: int, network: nn.Module, alpha: float) -> None:
        super().__init__()
        self.register_buffer("w", torch.ones(terms))
        self.register_buffer("first", torch.zeros(terms))
        self.alpha = alpha
        self._candidates = tuple(p for p in network.parameters() if p.requires_grad and p.ndim > 1)
        self._shared: dict[tuple[int, ...], Sequence[Tensor]] = {}

    def forward(self, losses: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The losses, weighted; then the weights are turned for the next step. One loss alone keeps its weight."""
        now = self.w.clone()
        if len(losses) > 1:
            there = torch.tensor(list(losses), device=now.device)
            norms, values = self._norms(losses)
            first = self.first[there]
            self.first[there] = first = torch.where(first > 0, first, values)
            self.w[there] = gradnorm_update(now[there], norms, values, first, alpha=self.alpha, rate=RATE)
        return {i: now[i] * loss for i, loss in losses.items()}

    def weights(self) -> list[float]:
        """w_i."""
        return [float(weight) for weight in self.w]

    def _norms(self, losses: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """g_i and L_i of the whole batch, whatever the number of processes."""
        shared = self._shared_by(losses)
        slopes = [torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True) for loss in losses.values()]
        flat = torch.stack([torch.cat([_flat(a, b) for a, b in zip(slope, shared, strict=True)]) for slope in slopes])
        values = torch.stack([loss.detach() for loss in losses.values()])
        if world_size() > 1 and torch.distributed.is_initialized():
            for tensor in (flat, values):
                torch.distributed.all_reduce(tensor)
                tensor /= world_size()
        return flat.norm(dim=1), values

    def _shared_by(self, losses: Mapping[int, Tensor]) -> Sequence[Tensor]:
        """W of these losses; all weights together where none is reached by all."""
        key = tuple(losses)
        if key not in self._shared:
            reached = [
                torch.autograd.grad(loss, self._candidates, retain_graph=True, allow_unused=True) for loss in losses.values()
            ]
            common = [w for w, *slopes in zip(self._candidates, *reached, strict=True) if all(s is not None for s in slopes)]
            self._shared[key] = common[-1:] or self._candidates
        return self._shared[key]


def gradnorm_update(w: Tensor, g: Tensor, losses: Tensor, first: Tensor, *, alpha: float, rate: float) -> Tensor:
    """Weights after one step of GradNorm.

        G_i = w_i g_i,   Ḡ = mean_i G_i                       norms of the weighted gradients
        ℓ_i = L_i / L_i(0),   r_i = ℓ_i / mean_j ℓ_j          how far behind the others a loss is
        L_grad = Σ_i | G_i − Ḡ r_i^α |                         the right side held constant
        log w_i ← log w_i − η (∂L_grad / ∂ log w_i) / Ḡ = log w_i − η sign(G_i − Ḡ r_i^α) G_i / Ḡ
        w ← T w / Σ_i w_i

    The paper steps in w itself. In its logarithm and in units of Ḡ the weights stay over 0, and neither the size of the losses
    (T² of a softened one, say) nor that of the network changes the pace.

    Args:
        w: Weights, over 0, (T,).
        g: ‖∂L_i / ∂W‖₂, (T,).
        losses: L_i, at least 0, (T,).
        first: L_i(0), those of the first step, (T,); a loss that was 0 then counts as neither ahead nor behind.
        alpha: α, at least 0; 0 makes all G_i equal.
        rate: η.

    Returns:
        (T,), of sum T; as they were where no loss has a gradient.
    """
    weighted = w * g
    mean = weighted.mean()
    if not bool(mean > 0) or not bool(mean.isfinite()):
        return w
    left = torch.where(first > 0, losses / first.where(first > 0, torch.ones_like(first)), torch.ones_like(first)).clamp(min=0)
    behind = left / left.mean().clamp(min=torch.finfo(left.dtype).tiny)
    log_w = w.log() - rate * (weighted - mean * behind**alpha).sign() * weighted / mean
    return len(w) * log_w.softmax(dim=0)


def _flat(slope: Tensor | None, weight: Tensor) -> Tensor:
    return torch.zeros_like(weight).flatten() if slope is None else slope.detach().flatten()
