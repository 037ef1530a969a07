"""Load balancing of the experts of a network in training (Fedus et al. 2022, Switch Transformer, arXiv:2101.03961, eq. 4–6).

    L = α · mean over layers of E Σ_e f_e P_e

f_e is the share of the router's choices that fall on expert e, P_e the mean probability that it gives e, over the tokens of a
batch that are no padding. E Σ_e f_e P_e is 1 where all experts are used alike, and up to E / k where always the same k are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RoutedLayer(nn.Module):
    """A layer whose router chooses experts for each token. In training it keeps the logits of its last pass for the loss.

    Attributes:
        per_token: k, experts of each token.
        balance: α; 0 for no loss.
    """

    def __init__(self, per_token: int, balance: float) -> None:
        super().__init__()
        self.per_token, self.balance = per_token, balance
        self._logits: Tensor | None = None

    def keep_logits(self, logits: Tensor) -> None:
        """Keep the router's logits (T, E) of all tokens of a batch."""
        self._logits = logits

    def take_logits(self) -> Tensor | None:
        """The logits of the last pass, which are forgotten; None if there was none."""
        logits, self._logits = self._logits, None
        return logits


def switch_loss(logits: Tensor, per_token: int, mask: Tensor | None = None) -> Tensor:
    """E Σ_e f_e P_e, a scalar.

    Args:
        logits: Of the router, (T, E).
        per_token: k.
        mask: Which tokens count, bool (T,); None for all.
    """
    chosen = logits.topk(per_token, dim=1).indices
    if mask is not None:
        logits, chosen = logits[mask], chosen[mask]
    experts = logits.shape[1]
    if not len(logits):
        return logits.sum() * 0.0
    f = torch.bincount(chosen.flatten(), minlength=experts).to(logits) / chosen.numel()
    return experts * (f * logits.float().softmax(dim=1).mean(dim=0)).sum()


def take_balance_loss(module: nn.Module, mask: Tensor | None) -> Tensor | None:
    """The loss of the last pass of a network in training; None for a network without experts, or without α.

    Args:
        module: The network.
        mask: 1 for each token that is no padding, (N, L); None for all.
    """
    losses = []
    for layer in routed_layers(module):
        logits = layer.take_logits()
        if logits is None or not layer.balance:
            continue
        fits = mask is not None and mask.numel() == len(logits)
        kept = mask.flatten().bool() if fits and mask is not None else None
        losses.append(layer.balance * switch_loss(logits, layer.per_token, kept))
    return torch.stack(losses).mean() if losses else None


def routed_layers(module: nn.Module) -> list[RoutedLayer]:
    """The layers with experts, first to last."""
    return [part for part in module.modules() if isinstance(part, RoutedLayer)]
