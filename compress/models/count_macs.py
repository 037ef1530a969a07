"""Parameters and multiply-accumulates of a network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compress.core.record import InputSpec


@dataclass(frozen=True)
class NetworkCounts:
    """What a network holds and does.

    Attributes:
        parameters: Weights that training may change, shared ones once; buffers are not counted.
        macs: Multiply-accumulates of one sample in convolutions, linear layers, matrix products and attention.
            Normalisation, activations and pooling are not counted, as is the custom of the papers.
    """

    parameters: int
    macs: int


def count_network(module: nn.Module, spec: InputSpec) -> NetworkCounts:
    """Count a network; it is left as it was.

    Counted where torch dispatches its operators, not by layer type, so that functional attention (Swin) counts as well.

    Args:
        module: Takes (1, C, H, W) of `spec`.
        spec: The input.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    modes = {child: child.training for child in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer is one operator without a flop formula
    try:
        module.eval()
        device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
        # Attention as plain products: some of its fused kernels have no flop formula, which depends on device and release.
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            module(torch.zeros(1, *spec.shape, device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for child, training in modes.items():
            child.training = training
    return NetworkCounts(parameters=parameters, macs=counter.get_total_flops() // 2)
