"""Importance from gates: what the loss changes by when whatever reads a channel sees zero in its place.

    s_c = Σ_n (Σ_l ∂L_n/∂m_lc)²,   ∂L_n/∂m_lc = Σ_w w · ∂L_n/∂w over the weights w of layer l that read channel c

m_lc is a gate of 1 on channel c where layer l reads it, n a sample. The sum over l comes before the square, since all gates of
a channel close together. Liu et al. 2021, "Group Fisher Pruning for Practical Network Compression", arXiv:2108.00708, equation
5; the expansion is Theis et al. 2018, arXiv:1801.05787. Both divide it by what goes with the channel, as the stage does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compress.prune.criteria.base import LAYERS, Importance, ScoringData, refuse_weights
from compress.prune.criteria.gradients import accumulate_gradients, per_sample_gradients

_READS = frozenset({tp.prune_conv_in_channels, tp.prune_linear_in_channels})  # bound methods


def fisher(seed: int = 0) -> Importance:  # noqa: ARG001
    """Squared gradient of a channel's gates, summed over samples. None where nothing reads the channel.

    Attention heads: the same, their gate being on what the output projection reads. Not for single weights. One backward pass
    a batch, and one a sample besides where a network has layers that read tokens or lend their weights to a function.
    """
    gates: dict[str, Tensor] = {}

    def collect(module: nn.Module, given: ScoringData) -> None:
        gates.clear()
        gates.update(gate_gradients(module, given))

    return Importance(
        channels=lambda _, group: _summed(group, gates),
        weights=refuse_weights,
        collect=collect,
        gates=gates.__getitem__,
        loss_change=True,
    )


def gate_gradients(module: nn.Module, given: ScoringData) -> dict[str, Tensor]:
    """∂L_n/∂m of gates on every input of every convolution and linear layer that has a gradient, (samples, in_channels).

    Args:
        module: Ends on the CPU, in eval mode; its gradients are overwritten.
        given: Batches, whose loss is a mean over samples.
    """
    readers = {name: part for name, part in module.named_modules() if isinstance(part, LAYERS) and part.weight.numel()}
    rows: dict[str, list[Tensor]] = {}
    rest = dict(readers)
    for batch in given.batches:
        with _listening(readers, len(batch.inputs)) as heard:
            accumulate_gradients(module, [batch], given.task, device=given.device)
        for name, found in heard.items():
            rest.pop(name, None)
            if found is not None:
                rows.setdefault(name, []).append(found.cpu() * len(batch.inputs))
    if rest:
        for _ in per_sample_gradients(module, given):
            for name, part in rest.items():
                rows.setdefault(name, []).append(input_gate_gradient(part).cpu()[None])
    return {name: torch.cat(found) for name, found in rows.items()}


@contextmanager
def _listening(readers: Mapping[str, nn.Module], samples: int) -> Iterator[dict[str, Tensor | None]]:
    """Gates of the layers that are called with one row of features, or one image, for each sample; None if no gradient comes.

    A layer that is called with anything else is not in it: which of its rows belong to which sample is not known.
    """
    heard: dict[str, Tensor | None] = {}

    def hook(name: str, part: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        x = args[0]
        if len(x) != samples or x.dim() != (2 if isinstance(part, nn.Linear) else 2 + len(part.kernel_size)):  # type: ignore[arg-type]
            return None
        heard.setdefault(name, None)
        if not x.requires_grad:
            return None
        own = x.view_as(x)  # its gradient is what comes through this layer alone
        values = x.detach()  # a hook that held `own` would hold itself, and the graph with it

        def add(gradient: Tensor) -> None:
            found = (values * gradient).flatten(2).sum(2) if values.dim() > 2 else values * gradient
            before = heard[name]
            heard[name] = found if before is None else before + found

        own.register_hook(add)  # type: ignore[no-untyped-call]
        return (own, *args[1:])

    handles = [part.register_forward_pre_hook(partial(hook, name)) for name, part in readers.items()]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def input_gate_gradient(part: nn.Module) -> Tensor:
    """Gradient of a gate on each input of a convolution or linear layer that holds gradients, (in_channels,)."""
    weight: Any = part.weight
    product: Tensor = (weight * weight.grad).detach()
    if getattr(part, "transposed", False):
        return product.flatten(1).sum(1)
    groups: int = getattr(part, "groups", 1)
    return product.view(groups, len(product) // groups, product.shape[1], -1).sum((1, 3)).flatten()


def _summed(group: Any, gates: dict[str, Tensor]) -> Tensor | None:
    width = len(group[0].root_idxs)
    total: Tensor | None = None
    for dep, indices, roots in ((one.dep, one.idxs, one.root_idxs) for one in group):
        found = gates.get(dep.target.name.partition(" (")[0]) if dep.handler in _READS else None
        if found is None:
            continue
        total = torch.zeros(len(found), width) if total is None else total
        pairs = [(index, root) for index, root in zip(indices, roots, strict=True) if root is not None]
        here, there = torch.tensor(pairs).T
        total.index_add_(1, there, found[:, here])
    return None if total is None else total.square().sum(0)
