"""Recomputation of batch-norm statistics after a change of earlier layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def recalibrate_batchnorm(network: nn.Module, batches: Sequence[tuple[Tensor, ...]]) -> bool:
    """Recompute batch-norm statistics over batches of inputs, in place; returns whether there are batch norms.

    A change of earlier layers changes the mean and variance (Li et al. 2020, "EagleEye", arXiv:2007.02491, section 3.2).
    """
    norms = [
        part for part in network.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    try:
        with torch.no_grad():
            for batch in batches:
                network(*batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
    return bool(norms)
