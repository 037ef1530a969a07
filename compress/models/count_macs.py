"""Parameters and multiply-accumulates of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compress.core.network_spec import NetworkSpec

Shape = Sequence[int]


def _onednn_recurrence(x: Shape, input_weight: Shape, hidden_weight: Shape, *_: object, **__: object) -> int:
    """Floating-point operations of one layer and direction: 2 · steps · samples · weights."""
    return 2 * prod(x[:2]) * (prod(input_weight) + prod(hidden_weight))


def _cudnn_recurrence(x: Shape, weights: Sequence[Shape], *_: object, **__: object) -> int:
    """The same for all layers and directions; one-dimensional weights are biases."""
    return 2 * prod(x[:2]) * sum(prod(weight) for weight in weights if len(weight) > 1)


_FUSED_RECURRENCES = {
    torch.ops.aten.mkldnn_rnn_layer: _onednn_recurrence,
    torch.ops.aten._cudnn_rnn: _cudnn_recurrence,
}
"""Formulas of fused kernels for which torch has none; elsewhere a recurrence is counted by its matrix products."""


@dataclass(frozen=True)
class NetworkCounts:
    """Parameters and operations of a network.

    Attributes:
        parameters: Number of parameters, shared ones once, without buffers.
        macs: Multiply-accumulates of one sample in convolutions, linear layers, matrix products, attention and
            recurrences; as in the literature, normalisation, activations and pooling are not counted.
    """

    parameters: int
    macs: int


def count_network(module: nn.Module, spec: NetworkSpec) -> NetworkCounts:
    """Count parameters and MACs of a network, which is not changed.

    It counts at the dispatch of operators, not by layer type, so that functional attention (Swin) is included.

    Args:
        module: Network for inputs of `spec`.
        spec: The input.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    modes = {child: child.training for child in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer is one operator without a flop formula
    try:
        module.eval()
        device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
        # plain products for attention: some fused kernels have no flop formula, depending on device and release
        counter = FlopCounterMode(display=False, custom_mapping=_FUSED_RECURRENCES)
        with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            module(*(values.to(device) for values in spec.signature.example().values()))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for child, training in modes.items():
            child.training = training
    return NetworkCounts(parameters=parameters, macs=counter.get_total_flops() // 2)
