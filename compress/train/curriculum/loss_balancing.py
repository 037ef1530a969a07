"""Balancing of the loss terms during training: by uncertainty, or by the norms of their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from compress.core.environment import world_size

RATE = 0.025
"""η of GradNorm, as in the paper."""


class LossBalancer(Protocol):
    """Weights the losses of a training."""

    def __call__(self, losses: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The weighted losses, by the index of their term."""

    def weights(self) -> list[float]:
        """The current weights, in the order of the terms."""


class UncertaintyWeighting(nn.Module):
    """Learned weights: Σ_i ½ (exp(−s_i) L_i + s_i), with s_i = 0 initially.

    Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", arXiv:1705.07115.

    Args:
        terms: Number of losses.
    """

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(terms))

    def forward(self, losses: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The weighted losses."""
        return {i: 0.5 * ((-self.s[i]).exp() * loss + self.s[i]) for i, loss in losses.items()}

    def weights(self) -> list[float]:
        """½ exp(−s_i)."""
        return [float(weight) for weight in 0.5 * (-self.s.detach()).exp()]


class GradNorm(nn.Module):
    """GradNorm: weights under which all losses train at a similar rate. The weights are buffers, not parameters.

    Chen et al. 2018, "GradNorm: Gradient Normalization for Adaptive Loss Balancing", arXiv:1711.02257. See `gradnorm_update`.
    W is the last weight of the network that receives a gradient from every loss: that of the head for losses on logits, that of
    an earlier layer for losses on features.

    Args:
        terms: T, number of losses.
        network: The network in training.
        alpha: α, how strongly the losses are pulled to a common training rate.
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
        """The weighted losses; updates the weights for the next step. A single loss keeps its weight."""
        w = self.w.clone()
        if len(losses) > 1:
            present = torch.tensor(list(losses), device=w.device)
            norms, values = self._norms(losses)
            first = self.first[present]
            self.first[present] = first = torch.where(first > 0, first, values)
            self.w[present] = gradnorm_update(w[present], norms, values, first, alpha=self.alpha, rate=RATE)
        return {i: w[i] * loss for i, loss in losses.items()}

    def weights(self) -> list[float]:
        """w_i."""
        return [float(weight) for weight in self.w]

    def _norms(self, losses: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """g_i and L_i of the whole batch, over all processes."""
        shared = self._shared_weight(losses)
        gradients = [torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True) for loss in losses.values()]
        flat = torch.stack([torch.cat([_flat(g, w) for g, w in zip(gradient, shared, strict=True)]) for gradient in gradients])
        values = torch.stack([loss.detach() for loss in losses.values()])
        if world_size() > 1 and torch.distributed.is_initialized():
            for tensor in (flat, values):
                torch.distributed.all_reduce(tensor)
                tensor /= world_size()
        return flat.norm(dim=1), values

    def _shared_weight(self, losses: Mapping[int, Tensor]) -> Sequence[Tensor]:
        """W of these losses; all weights if no weight receives a gradient from every loss."""
        key = tuple(losses)
        if key not in self._shared:
            gradients = [
                torch.autograd.grad(loss, self._candidates, retain_graph=True, allow_unused=True) for loss in losses.values()
            ]
            common = [w for w, *g in zip(self._candidates, *gradients, strict=True) if all(g_i is not None for g_i in g)]
            self._shared[key] = common[-1:] or self._candidates
        return self._shared[key]


def gradnorm_update(w: Tensor, g: Tensor, losses: Tensor, first: Tensor, *, alpha: float, rate: float) -> Tensor:
    """Weights after one step of GradNorm.

        G_i = w_i g_i,   Ḡ = mean_i G_i                       norms of the weighted gradients
        ℓ_i = L_i / L_i(0),   r_i = ℓ_i / mean_j ℓ_j          relative inverse training rate
        L_grad = Σ_i | G_i − Ḡ r_i^α |                         with Ḡ r_i^α held constant
        log w_i ← log w_i − η (∂L_grad / ∂ log w_i) / Ḡ = log w_i − η sign(G_i − Ḡ r_i^α) G_i / Ḡ
        w ← T w / Σ_i w_i

    The paper updates w itself. With log w and the division by Ḡ the weights stay positive, and the step depends neither on the
    scale of the losses (such as the factor T² of a distillation loss) nor on the size of the network.

    Args:
        w: Weights > 0, (T,).
        g: ‖∂L_i / ∂W‖₂, (T,).
        losses: L_i ≥ 0, (T,).
        first: L_i(0), losses of the first step, (T,); ℓ_i = 1 for a loss that is 0 there.
        alpha: α ≥ 0; 0 makes all G_i equal.
        rate: η.

    Returns:
        Weights with the sum T, (T,); w itself if no loss has a gradient, or a gradient is not finite.
    """
    weighted = w * g
    mean = weighted.mean()
    if not bool(mean > 0) or not bool(mean.isfinite()):
        return w
    ratio = torch.where(first > 0, losses / first.where(first > 0, torch.ones_like(first)), torch.ones_like(first)).clamp(min=0)
    r = ratio / ratio.mean().clamp(min=torch.finfo(ratio.dtype).tiny)
    log_w = w.log() - rate * (weighted - mean * r**alpha).sign() * weighted / mean
    return len(w) * log_w.softmax(dim=0)


def _flat(gradient: Tensor | None, weight: Tensor) -> Tensor:
    return torch.zeros_like(weight).flatten() if gradient is None else gradient.detach().flatten()
