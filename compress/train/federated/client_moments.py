"""Moments of batch norm over the samples of clients, for the network that the server has after a round.

The moments that a client has after its training are those of its own weights. The weights of the server are others, and with
sparse updates very different ones, so that clients measure the moments anew (Li 2020, EagleEye, arXiv:2007.02491, section 3.2)
and the server joins them:

    μ = Σ_k p_k μ_k          σ² = Σ_k p_k (σ_k² + μ_k²) − μ²
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compress.train.federated.read_samples import READ_BATCH, batch_of
from compress.train.recalibrate_batchnorm import recalibrate_batchnorm


def join_moments(
    module: nn.Module, inputs: Mapping[str, Tensor], parts: Sequence[Tensor], weights: Sequence[float], device: str
) -> None:
    """Set the moments of batch norm of a network to those over the samples of clients; a network without batch norm stays.

    Args:
        module: The network, on the CPU; in place.
        inputs: All samples by name of the input, (N, …).
        parts: Rows of the samples of each client.
        weights: p_k, share of each client.
        device: Where the clients compute.
    """
    norms = _norms(module)
    means = [torch.zeros_like(mean) for mean, _ in norms]
    squares = [torch.zeros_like(mean) for mean in means]
    for rows, weight in zip(parts, weights, strict=True) if norms else ():
        local = copy.deepcopy(module).to(device).eval()
        count = -(-len(rows) // READ_BATCH)
        batches = [batch_of(inputs, own, device) for own in rows.tensor_split(count)]
        recalibrate_batchnorm(local, batches)
        for index, (mean, variance) in enumerate(_norms(local)):
            means[index] += weight * mean.cpu()
            squares[index] += weight * (variance + mean**2).cpu()
    for (mean, variance), joint, square in zip(norms, means, squares, strict=True):
        mean.copy_(joint)
        variance.copy_((square - joint**2).clamp(min=0.0))


def _norms(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of each batch norm."""
    return [
        (part.running_mean, part.running_var)
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None and part.running_var is not None
    ]
