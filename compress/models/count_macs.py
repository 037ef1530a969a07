"""Parameters and multiply-accumulates of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compress.backends.eval_mode import eval_mode
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

    It counts at the dispatch of operators, not by layer type, so that functional attention (Swin) is included. Self-attention
    over L tokens of H heads of width d counts 2·H·L²·d for its scores and its weighted sums, beside its projections.

    Args:
        module: Network for inputs of `spec`, with the typical sizes of free axes.
        spec: The input.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return NetworkCounts(parameters=parameters, macs=_count(module, spec).get_total_flops() // 2)


def count_own_macs(module: nn.Module, spec: NetworkSpec) -> dict[str, int]:
    """MACs of each submodule by name that are outside of its own submodules, as `count_network` counts.

    Those of an attention module with layers as projections are its products of queries, keys and values. A submodule that runs
    several times counts all its runs, and one that is registered several times has one of its names.
    """
    root = type(module).__name__
    counts = _count(module, spec).get_flop_counts()
    totals = {name: sum(counts[name].values()) // 2 for name in counts if name != "Global"}
    own = dict(totals)
    for name, macs in totals.items():
        above = name.rpartition(".")[0]
        while above and above not in totals:  # a container is not called
            above = above.rpartition(".")[0]
        if above:
            own[above] -= macs
    return {name.removeprefix(f"{root}."): max(macs, 0) for name, macs in own.items() if name != root}


def _count(module: nn.Module, spec: NetworkSpec) -> FlopCounterMode:
    """A counter of floating-point operations, two for each MAC, after one sample."""
    # plain products for attention: some fused kernels have no flop formula, depending on device and release
    counter = FlopCounterMode(display=False, custom_mapping=_FUSED_RECURRENCES)
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    inputs = [values.to(device) for values in spec.signature.example().values()]
    with _countable(module), counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        module(*inputs)
    return counter


@contextmanager
def _countable(module: nn.Module) -> Iterator[None]:
    """In the context: eval mode, no gradients, and no fused encoder layer, which is one operator without a flop formula.

    The counter looks for the gradients of the inputs of submodules, and fails where one is a part of a parameter.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with eval_mode(module):
            for parameter in trained:
                parameter.requires_grad_(False)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for parameter in trained:
            parameter.requires_grad_(True)
